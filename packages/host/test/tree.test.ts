import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { buildHost } from "../src/bundled/build-host.ts";
import { baseName, isTar, MemoryTree, normalize, packTree, readTar, readText, realPath, SnapshotError, toText } from "../src/index.ts";
import { switchHost } from "./made-hosts.ts";
import { concat, paxRecord, tarOf, tarPart } from "./tar-bytes.ts";

describe("normalize", () => {
  test.each([
    ["a/b", "a/b"],
    ["/a//b/", "a/b"],
    ["./a/./b", "a/b"],
    ["a/../b", "b"],
    ["", ""],
    [".", ""],
    ["a/..", ""],
    ["..", undefined],
    ["a/../../b", undefined],
  ])("%j is %j", (path, expected) => {
    expect(normalize(path)).toBe(expected);
  });
});

describe("realPath", () => {
  const tree = new MemoryTree("test")
    .addFile("sys/devices/a/config", "x")
    .addLink("sys/bus/relative", "../devices/a")
    .addLink("sys/bus/absolute", "/sys/devices/a")
    .addLink("sys/bus/chain", "relative")
    .addLink("sys/bus/top", "/")
    .addLink("sys/bus/self", "self")
    .addLink("sys/bus/one", "two")
    .addLink("sys/bus/two", "one")
    .addLink("sys/bus/out", "../../../etc/passwd")
    .addLink("sys/bus/nowhere", "../devices/none");

  test.each([
    ["sys/devices/a/config", "sys/devices/a/config"],
    ["sys/bus/relative/config", "sys/devices/a/config"],
    ["sys/bus/absolute/config", "sys/devices/a/config"],
    ["sys/bus/chain/config", "sys/devices/a/config"],
    ["sys/bus/top/sys/devices/a", "sys/devices/a"],
    ["sys/bus/relative/../b", "sys/bus/b"],
    ["sys/bus/nowhere", "sys/devices/none"],
    ["", ""],
  ])("%j is %j", (path, expected) => {
    expect(realPath(tree, path)).toBe(expected);
  });

  test.each(["sys/bus/self", "sys/bus/one/config", "sys/bus/out", "../sys", "sys/bus/self/../relative/../self"])("%j leads in a circle or out of the tree", (path) => {
    expect(realPath(tree, path)).toBeUndefined();
  });

  test("forty links are followed, not more", () => {
    const long = new MemoryTree("test").addFile("l0", "end");
    for (let i = 1; i <= 41; i++) long.addLink(`l${i}`, `l${i - 1}`);
    expect([realPath(long, "l40"), realPath(long, "l41")]).toEqual(["l0", undefined]);
  });
});

describe("MemoryTree", () => {
  test("lists folders sorted, reads files, shows links as written", () => {
    const tree = new MemoryTree("test").addFile("b/2", "two").addFile("b/1", new Uint8Array([1])).addLink("b/3", "../x").addFolder("c/d");
    expect([tree.list(""), tree.list("b"), tree.list("c"), tree.list("none"), tree.list("b/1")]).toEqual([["b", "c"], ["1", "2", "3"], ["d"], [], []]);
    expect([readText(tree, "b/2"), tree.read("b/3"), tree.link("b/3"), tree.link("b/2"), tree.read("b")]).toEqual(["two", undefined, "../x", undefined, undefined]);
    expect(tree.paths()).toEqual(["b/1", "b/2", "b/3"]);
  });

  test.each(["../a", "a/../../b", "/etc/passwd", "", "."])("%j is refused: it names no place inside", (path) => {
    expect(() => new MemoryTree("test").addFile(path, "x")).toThrow(RangeError);
    expect(() => new MemoryTree("test").addLink(path, "x")).toThrow(RangeError);
    expect(() => new MemoryTree("test").addFolder(path)).toThrow(RangeError);
  });

  test("a file is no folder, however often one asks", () => {
    const tree = new MemoryTree("test").addFile("a", "x");
    for (let i = 0; i < 2; i++) expect(() => tree.addFile("a/b/c", "y")).toThrow('"a" is a file, not a folder.');
    expect(tree.paths()).toEqual(["a"]);
  });

  test("names that objects have from birth are names like any other", () => {
    const tree = new MemoryTree("test").addFile("__proto__/constructor", "x");
    expect([tree.list("__proto__"), readText(tree, "__proto__/constructor"), tree.read("toString")]).toEqual([["constructor"], "x", undefined]);
  });

  test("a removed folder takes what is in it along", () => {
    const tree = new MemoryTree("test").addFile("a/b/c", "x").addFile("a/bc", "y").remove("a/b");
    expect([tree.paths(), tree.list("a")]).toEqual([["a/bc"], ["bc"]]);
  });

  test("baseName is the last part", () => {
    expect([baseName("a/b"), baseName("a"), baseName("../../iommu_groups/7")]).toEqual(["b", "a", "7"]);
  });
});

describe("readTar", () => {
  const read = async (bytes: Uint8Array): Promise<{ paths: string[]; refused: string[] }> => {
    const { tree, refused } = await readTar("test.tar", bytes);
    return { paths: tree.paths(), refused };
  };

  test("reads files, folders and links", async () => {
    const { tree } = await readTar("test.tar", tarOf({ name: "sys/", type: "5" }, { name: "sys/a", body: "text" }, { name: "sys/b", type: "2", link: "a" }));
    expect([tree.paths(), readText(tree, "sys/a"), tree.link("sys/b")]).toEqual([["sys/a", "sys/b"], "text", "a"]);
  });

  test.each([
    ["climbs out", "../etc/passwd"],
    ["climbs out behind a folder", "sys/../../etc/passwd"],
    ["goes up at all", "sys/../proc/version"],
    ["is absolute", "/etc/passwd"],
  ])("an entry whose name %s is left out and named", async (_what, name) => {
    expect(await read(tarOf({ name, body: "x" }, { name: "sys/a", body: "y" }))).toEqual({ paths: ["sys/a"], refused: [name] });
  });

  test("a link out of the tree is kept as written, and leads nowhere", async () => {
    const { tree } = await readTar("test.tar", tarOf({ name: "sys/a", type: "2", link: "../../../etc" }, { name: "sys/b", type: "2", link: "/etc/passwd" }));
    expect([realPath(tree, "sys/a/passwd"), tree.read("etc/passwd"), realPath(tree, "sys/b")]).toEqual([undefined, undefined, "etc/passwd"]);
  });

  test("an entry below a link or a file is left out", async () => {
    expect(await read(tarOf({ name: "sys/a", type: "2", link: "/etc" }, { name: "sys/a/passwd", body: "x" }, { name: "sys/f", body: "y" }, { name: "sys/f/g", body: "z" }))).toEqual({ paths: ["sys/a", "sys/f"], refused: ["sys/a/passwd", "sys/f/g"] });
  });

  test("device nodes, hard links and pipes are no part of a host's files", async () => {
    expect(await read(tarOf({ name: "dev/null", type: "3" }, { name: "dev/sda", type: "4" }, { name: "run/fifo", type: "6" }, { name: "sys/hard", type: "1", link: "sys/a" }, { name: "sys/a", body: "x" }))).toMatchObject({ paths: ["sys/a"] });
  });

  const base256 = (value: bigint): Uint8Array => Uint8Array.from({ length: 12 }, (_, i) => Number((value >> BigInt(8 * (11 - i))) & 0xffn) | (i === 0 ? 0x80 : 0));

  test("a size in base 256, as GNU tar writes large ones, is read", async () => {
    expect(await read(tarOf({ name: "sys/a", body: "text", size: base256(4n) }, { name: "sys/b", body: "x" }))).toEqual({ paths: ["sys/a", "sys/b"], refused: [] });
  });

  test.each([
    ["more than follows", "00000777777\0"],
    ["no number", "hello world\0"],
    ["a negative number", "-0000000001\0"],
    ["more than a number holds, in base 256", base256((1n << 80n) + 4n)],
    ["more than follows, in base 256", base256(1n << 30n)],
    ["a negative number, in base 256", new Uint8Array(12).fill(0xff)],
  ])("an entry that states %s is damage", async (_what, size) => {
    await expect(readTar("test.tar", tarOf({ name: "sys/a", body: "text", size }))).rejects.toThrow(SnapshotError);
  });

  test("long names come from pax headers and from GNU's own", async () => {
    const long = `sys/devices/${"0000:00:1c.0/".repeat(20)}config`;
    const pax = tarOf({ name: "pax", type: "x", body: paxRecord("path", long) }, { name: "short", body: "x" });
    const gnu = tarOf({ name: "././@LongLink", type: "L", body: `${long}\0` }, { name: "short", body: "x" });
    const split = tarOf({ name: "config", prefix: "sys/devices/a", body: "x" });
    expect(await read(pax)).toEqual({ paths: [long], refused: [] });
    expect(await read(gnu)).toEqual({ paths: [long], refused: [] });
    expect(await read(split)).toEqual({ paths: ["sys/devices/a/config"], refused: [] });
  });

  test("a pax name that climbs out is left out too", async () => {
    expect(await read(tarOf({ name: "pax", type: "x", body: paxRecord("path", "../../etc/passwd") }, { name: "sys/a", body: "x" }))).toEqual({ paths: [], refused: ["../../etc/passwd"] });
  });

  test("a pax header whose size reaches past the archive is damage, or ends it there", async () => {
    const archive = tarOf({ name: "pax", type: "x", body: paxRecord("size", "99999999999") }, { name: "sys/a", body: "x" }, { name: "sys/b", body: "y" });
    const outcome = await read(archive).catch((error: unknown) => error);
    if (outcome instanceof Error) expect(outcome).toBeInstanceOf(SnapshotError);
    else expect((outcome as { paths: string[] }).paths).not.toContain("sys/b");
  });

  test("one common top folder is taken off, but not a host's own", async () => {
    expect((await read(tarOf({ name: "host-1/", type: "5" }, { name: "host-1/sys/a", body: "x" }, { name: "host-1/proc/b", body: "y" }))).paths).toEqual(["proc/b", "sys/a"]);
    expect((await read(tarOf({ name: "./host-1/sys/a", body: "x" }, { name: "./host-1/proc/b", body: "x" }))).paths).toEqual(["proc/b", "sys/a"]);
    expect((await read(tarOf({ name: "sys/a", body: "x" }, { name: "sys/b", body: "y" }))).paths).toEqual(["sys/a", "sys/b"]);
    expect((await read(tarOf({ name: "host-1/sys/a", body: "x" }, { name: "readme", body: "y" }))).paths).toEqual(["host-1/sys/a", "readme"]);
  });

  test("an archive with more entries or bytes than allowed is refused", async () => {
    const three = tarOf({ name: "sys/a" }, { name: "sys/b" }, { name: "sys/c" });
    await expect(readTar("test.tar", three, { entries: 2, bytes: 1 << 20 })).rejects.toThrow("test.tar has more than 2 entries.");
    await expect(readTar("test.tar", three, { entries: 9, bytes: 1024 })).rejects.toThrow("at most 1024 are read");
    expect((await readTar("test.tar", three, { entries: 3, bytes: 1 << 20 })).tree.paths()).toHaveLength(3);
  });

  test("an archive cut anywhere gives what is whole, or is damage; never anything else", async () => {
    const whole = tarOf({ name: "sys/a", body: "a".repeat(700) }, { name: "pax", type: "x", body: paxRecord("path", `sys/${"b".repeat(120)}`) }, { name: "b", body: "b" }, { name: "sys/c", type: "2", link: "a" });
    const all = (await read(whole)).paths;
    for (let length = 0; length < whole.length; length += 97) {
      const outcome = await read(whole.slice(0, length)).catch((error: unknown) => error);
      if (outcome instanceof Error) expect(outcome).toBeInstanceOf(SnapshotError);
      else expect(all).toEqual(expect.arrayContaining((outcome as { paths: string[] }).paths));
    }
  });

  test("a flipped checksum is damage", async () => {
    const bytes = tarOf({ name: "sys/a", body: "x" });
    bytes[0] = 0x74;
    await expect(readTar("test.tar", bytes)).rejects.toThrow(SnapshotError);
  });

  test("isTar knows archives by their mark or their checksum, nothing else", () => {
    const old = tarPart({ name: "sys/a", body: "x" });
    expect([isTar(old), isTar(new Uint8Array(1024)), isTar(new Uint8Array(10)), isTar(new TextEncoder().encode("x".repeat(600)))]).toEqual([true, false, false, false]);
  });
});

describe("packTree", () => {
  test("readTar gives back what was packed", async () => {
    const tree = buildHost(switchHost());
    const { tree: back, refused } = await readTar("test.tar", await packTree(tree));
    expect(refused).toEqual([]);
    expect(back.paths()).toEqual(tree.paths());
    for (const path of tree.paths()) expect([path, back.read(path), back.link(path)]).toEqual([path, tree.read(path), tree.link(path)]);
  });

  test("equal trees give equal bytes, whatever the order they were filled in", async () => {
    const files = [["sys/b", "2"], ["sys/a", "1"]] as const;
    const [one, two] = [new MemoryTree("one"), new MemoryTree("two")];
    for (const [path, text] of files) one.addFile(path, text);
    for (const [path, text] of [...files].reverse()) two.addFile(path, text);
    expect(await packTree(one)).toEqual(await packTree(two));
  });

  test("any names and contents survive, also long ones and such with spaces and signs", async () => {
    const name = fc.stringMatching(/^[A-Za-z0-9 :@+=,äß_-]{1,40}$/).filter((part) => part.trim() === part && part !== "");
    const path = fc.array(name, { minLength: 1, maxLength: 8 }).map((parts) => `sys/${parts.join("/")}`);
    await fc.assert(
      fc.asyncProperty(fc.dictionary(path, fc.uint8Array({ maxLength: 1200 }), { minKeys: 1, maxKeys: 6 }), async (files) => {
        const tree = new MemoryTree("test");
        for (const [at, bytes] of Object.entries(files)) try {
          tree.addFile(at, bytes);
        } catch {
          // One of the random paths goes through another file.
        }
        const { tree: back } = await readTar("test.tar", await packTree(tree));
        expect(back.paths()).toEqual(tree.paths());
        for (const at of tree.paths()) expect(back.read(at)).toEqual(tree.read(at));
      }),
      { numRuns: 40 },
    );
  });

  test("text is UTF-8, and bytes that are none become U+FFFD", () => {
    expect([toText(new Uint8Array([0xc3, 0xa4])), toText(concat([new Uint8Array([0xff])]))]).toEqual(["ä", "\ufffd"]);
  });
});
