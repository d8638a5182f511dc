import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { VgaArbiterDevice, VgaArbiterError, type OpenArbiterFile } from "../../src/index.ts";
import { arbiterFor, bridge, device } from "../fake-devices.ts";

const machine = (cards = 2) => {
  const devices = Array.from({ length: cards }, (_, i) => device(`0${i + 1}:00.0`, 3, [bridge(`00:0${i + 1}.0`, i === 0)]));
  const { arbiter } = arbiterFor(devices);
  return { arbiter, devices, node: new VgaArbiterDevice(arbiter) };
};
const fails = (file: OpenArbiterFile, text: string): string => {
  try {
    file.write(text);
  } catch (error) {
    if (error instanceof VgaArbiterError) return error.code;
    throw error;
  }
  return "";
};

describe("/dev/vga_arbiter: reading", () => {
  test("the first read is about the default device, and every read repeats it", () => {
    const file = machine().node.open();
    const text = "count:2,PCI:0000:01:00.0,decodes=io+mem,owns=io+mem,locks=none(0:0)\n";
    expect([file.read(), file.read()]).toEqual([text, text]);
  });
  test("the reader's room cuts it", () => {
    const file = machine().node.open();
    expect([file.read(7), file.read(0)]).toEqual(["count:2", ""]);
  });
  test("without a VGA device it reads \"invalid\" without an end of line", () => {
    const file = machine(0).node.open();
    expect([file.read(), file.read(3)]).toEqual(["invalid", "inv"]);
    expect(fails(file, "lock io")).toBe("ENODEV");
  });
  test("a target that was removed is invalid", () => {
    const { node, arbiter, devices } = machine();
    const file = node.open();
    for (const each of devices) arbiter.remove(each);
    expect(file.read()).toBe("invalid");
  });
  test("locks of all holders are shown with their counts", () => {
    const { node } = machine();
    const [a, b] = [node.open(), node.open()];
    a.write("lock io+mem");
    b.write("lock mem");
    expect(a.read()).toContain("locks=io+mem(2:2)");
    expect(b.poll()).toBe("readable");
  });
});

describe("/dev/vga_arbiter: commands", () => {
  test.each(["io", "mem", "io+mem", "io+mem\n", "iomem", "memory"])("`lock %s` means both ranges", (state) => {
    const file = machine().node.open();
    expect(file.write(`lock ${state}`)).toBe(`lock ${state}`.length);
    expect(file.read()).toContain("locks=io+mem(1:1)");
  });
  test.each([
    ["", "EPROTO"],
    ["lock", "EPROTO"],
    ["lock none", "EPROTO"],
    ["lock i", "EPROTO"],
    ["lock all", "EPROTO"],
    ["trylock xyz", "EPROTO"],
    ["unlock xyz", "EPROTO"],
    ["unlock io", "EINVAL"],
    ["unlock all", "EINVAL"],
    ["decodes xyz", "EPROTO"],
    ["Lock io", "EPROTO"],
    [" lock io", "EPROTO"],
    ["target", "EPROTO"],
    ["target PCI:0:1:0", "EPROTO"],
    ["target PCI:0:1:0.", "EPROTO"],
    ["target 0000:01:00.0", "EPROTO"],
    ["target PCI:0000:07:00.0", "ENODEV"],
    ["target PCI:0000:101:00.0", "ENODEV"],
    ["target PCI:1:01:00.0", "ENODEV"],
    ["x".repeat(64), "EINVAL"],
    [`lock io${" ".repeat(57)}`, "EINVAL"],
    [`lock io${"é".repeat(29)}`, "EINVAL"],
  ])("%j is refused with %s", (text, code) => {
    expect(fails(machine().node.open(), text)).toBe(code);
  });
  test("63 bytes are taken", () => {
    expect(machine().node.open().write(`lock io${" ".repeat(56)}`)).toBe(63);
  });
  test.each(["target PCI:0000:02:00.0", "target PCI:0:2:0.0", "target PCI: 0: 0x2: 0.0", "target PCI:0:2:20.8 and more", "target PCI:0:2:e0.10"])("%j finds 0000:02:00.0", (text) => {
    const file = machine().node.open();
    file.write(text);
    expect(file.read()).toContain("PCI:0000:02:00.0,");
    file.write("target default");
    expect(file.read()).toContain("PCI:0000:01:00.0,");
  });
  test("`trylock` gives EBUSY while another holds, `lock` waits and is told", () => {
    const { node } = machine();
    const [a, b] = [node.open(), node.open()];
    a.write("lock io");
    b.write("target PCI:0:2:0.0");
    expect(fails(b, "trylock io")).toBe("EBUSY");
    const told: unknown[] = [];
    expect(b.write("lock io", (result) => told.push(result))).toHaveProperty("waiting");
    expect(told).toEqual([]);
    a.write("unlock io");
    expect(told).toEqual([7]);
    expect(b.read()).toContain("owns=io+mem,locks=io+mem(1:1)");
  });
  test("a bridge that cannot pass the ranges down gives EIO to `lock` and `trylock`", () => {
    const port = bridge("00:01.0");
    port.config.readOnly.add(0x3e);
    const { arbiter } = arbiterFor([device("01:00.0", 3, [port])]);
    const file = new VgaArbiterDevice(arbiter).open();
    expect([fails(file, "lock io"), fails(file, "trylock io"), fails(file, "unlock io")]).toEqual(["EIO", "EIO", "EINVAL"]);
  });
  test("a `lock` that waits is told when its target goes away", () => {
    const { node, arbiter, devices } = machine();
    const [a, b] = [node.open(), node.open()];
    a.write("lock io");
    b.write("target PCI:0:2:0.0");
    const told: unknown[] = [];
    b.write("lock io", (result) => told.push(result instanceof VgaArbiterError ? result.code : result));
    arbiter.remove(devices[1]!);
    expect(told).toEqual(["ENODEV"]);
  });
  test("`trylock` counts for `unlock`, once each", () => {
    const file = machine().node.open();
    file.write("trylock mem");
    expect(file.write("unlock all")).toBe(10);
    expect(fails(file, "unlock mem")).toBe("EINVAL");
    expect(file.write("unlock none")).toBe(11);
  });
  test("one file cannot release what another holds", () => {
    const { node } = machine();
    node.open().write("lock io");
    expect(fails(node.open(), "unlock io")).toBe("EINVAL");
  });
  test("`decodes none` takes the target out of the count", () => {
    const file = machine().node.open();
    file.write("decodes none");
    expect(file.read()).toContain("count:1,PCI:0000:01:00.0,decodes=none,");
    file.write("decodes io");
    expect(file.read()).toContain("count:2,PCI:0000:01:00.0,decodes=io+mem,");
  });
  test("closing releases everything the file held, of every target, and gives up what it waits for", () => {
    const { node, arbiter, devices } = machine();
    const [a, b] = [node.open(), node.open()];
    a.write("lock io");
    a.write("lock io");
    b.write("target PCI:0:2:0.0");
    b.write("lock io");
    const c = node.open();
    a.close();
    expect(arbiter.states.map(({ ioLocks }) => ioLocks)).toEqual([0, 1]);
    c.write("lock mem");
    c.write("lock io");
    expect(arbiter.waiting).toHaveLength(2);
    c.close();
    b.close();
    b.close();
    expect(arbiter.states.map(({ locks }) => locks)).toEqual([0, 0]);
    expect(arbiter.waiting).toEqual([]);
    expect(devices).toHaveLength(2);
    expect(() => b.read()).toThrow(TypeError);
  });
  test("a file targets at most as many devices as it has cards; the target moves all the same", () => {
    const { arbiter } = machine(3);
    const file = new VgaArbiterDevice(arbiter, 2).open();
    file.write("target PCI:0:2:0.0");
    file.write("target PCI:0:1:0.0");
    expect(fails(file, "target PCI:0:3:0.0")).toBe("ENOMEM");
    expect(file.read()).toContain("PCI:0000:03:00.0,");
    file.write("lock io");
    expect(fails(file, "unlock io")).toBe("EINVAL");
  });
});

describe("/dev/vga_arbiter: limits", () => {
  test("one file has room for 16 devices", () => {
    const devices = Array.from({ length: 17 }, (_, i) => device(`${(i + 1).toString(16).padStart(2, "0")}:00.0`, 3, [bridge(`00:${(i + 1).toString(16).padStart(2, "0")}.0`, i === 0)]));
    const file = new VgaArbiterDevice(arbiterFor(devices).arbiter).open();
    const codes = devices.map((_, i) => fails(file, `target PCI:0:${(i + 1).toString(16)}:0.0`));
    expect(codes).toEqual([...Array.from({ length: 16 }, () => ""), "ENOMEM"]);
  });
  test.each([
    ["a", 56, 1],
    ["é", 28, 2],
    ["€", 18, 3],
    ["😀", 14, 4],
  ])("%s counts in UTF-8: %i of them fit behind `lock io`", (character, fits, size) => {
    expect(machine().node.open().write(`lock io${character.repeat(fits)}`)).toBe(7 + fits * size);
    expect(fails(machine().node.open(), `lock io${character.repeat(fits + 1)}`)).toBe(7 + (fits + 1) * size < 64 ? "" : "EINVAL");
  });
});

describe("/dev/vga_arbiter: any text", () => {
  const word = fc.constantFrom("lock ", "trylock ", "unlock ", "decodes ", "target ", "io", "mem", "io+mem", "none", "all", "default", "PCI:", "0", "1", "2:", ":", ".", "0x", "ffffffffffffffffffff", " ", "\0", "\n", "é");
  test("gives a count or one of the kernel's errors, and closing leaves no lock behind", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), fc.oneof(fc.array(word, { maxLength: 6 }).map((parts) => parts.join("")), fc.string({ maxLength: 80 }))), { maxLength: 30 }), (writes) => {
        const { node, arbiter } = machine(3);
        const files = [node.open(), node.open(), node.open()];
        for (const [which, text] of writes) {
          const code = fails(files[which] as OpenArbiterFile, text);
          expect(["", "EBUSY", "EINVAL", "ENODEV", "EPROTO"]).toContain(code);
        }
        for (const file of files) file.close();
        expect(arbiter.states.map(({ locks, ioLocks, memoryLocks }) => locks + ioLocks + memoryLocks)).toEqual([0, 0, 0]);
        expect(arbiter.waiting).toEqual([]);
      }),
    );
  });
});
