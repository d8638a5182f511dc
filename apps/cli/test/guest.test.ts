/** What a guest is made of, without booting it. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { DiskError, VirtioConsole } from "@iommu-lab/hypervisor/devices";
import { deviceOptions, faultOption, iommuOption } from "../src/guest/guest-options.ts";
import { memoryDisk, RawDisk } from "../src/guest/raw-disk.ts";
import { SyscallScript, syscallProgram } from "../src/guest/syscall-program.ts";
import { openTrace } from "../src/guest/trace-file.ts";

const folder = mkdtempSync(join(tmpdir(), "iommu-guest-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe("options of iommu boot", () => {
  test("an IOMMU with what is on", () => {
    expect(iommuOption("intel")).toEqual({ vendor: "intel" });
    expect(iommuOption("amd,intremap=off,caching-mode,scalable=on,levels=5,superpages=off,caches=adversarial")).toEqual({ vendor: "amd", interruptRemapping: false, cachingMode: true, scalable: true, levels: 5, superpages: false, caches: "adversarial" });
  });
  test.each(["", "via", "intel,levels=6", "intel,intremap=maybe", "intel,speed=11", "intel,caches=some", "intel,levels=4,levels=5"])("%j is refused", (text) => {
    expect(() => iommuOption(text)).toThrow(expect.objectContaining({ exitCode: 2 }));
  });
  test("devices have places one after the other, and are made anew each time", () => {
    const make = deviceOptions([]);
    const surroundings = { disk: memoryDisk(512), console: new VirtioConsole(() => undefined) };
    expect(make(surroundings).map(({ devfn }) => devfn >> 3)).toEqual([5, 6, 7, 8]);
    expect(make(surroundings)[0]?.fn).not.toBe(make(surroundings)[0]?.fn);
    expect(deviceOptions(["edu,interrupts=msix", "edu"])(surroundings)).toHaveLength(2);
  });
  test.each([["floppy"], ["edu,interrupts=smoke"], ["virtio-blk,size=3"]])("the device %j is refused", (text) => {
    expect(() => deviceOptions([text])).toThrow(expect.objectContaining({ exitCode: 2 }));
  });
  test("more devices than places are refused", () => {
    expect(() => deviceOptions(new Array<string>(25).fill("edu"))).toThrow("25 devices");
  });
  test("faults with their occasions", () => {
    expect(faultOption("delay-invalidation,after=3,count=2,delay=7")).toEqual({ kind: "delay-invalidation", after: 3, count: 2, delay: 7 });
    for (const text of ["fire", "fail-fetch,delay=1", "fail-fetch,after=-1", "fail-fetch,after=x"]) expect(() => faultOption(text)).toThrow(expect.objectContaining({ exitCode: 2 }));
  });
});

describe("disks", () => {
  test("a file is read and written in place, sector by sector", () => {
    const path = join(folder, "disk");
    writeFileSync(path, new Uint8Array(2048));
    const disk = new RawDisk(path);
    disk.write(2, new Uint8Array(512).fill(7));
    const into = new Uint8Array(1024);
    disk.read(1, into);
    expect([disk.sectors, disk.readOnly, into[511], into[512]]).toEqual([4, false, 0, 7]);
    expect(() => { disk.read(4, into); }).toThrow(DiskError);
    disk.close();
  });
  test("a file of no whole sectors, and none, say so", () => {
    const path = join(folder, "odd");
    writeFileSync(path, new Uint8Array(100));
    expect(() => new RawDisk(path)).toThrow("100 bytes");
    expect(() => new RawDisk(join(folder, "missing"))).toThrow("truncate -s");
  });
});

describe("without what it needs", () => {
  const run = (args: readonly string[], env: NodeJS.ProcessEnv): { readonly status: number | null; readonly stderr: string } =>
    spawnSync(process.execPath, ["--conditions=@iommu-lab/source", join(import.meta.dirname, "../src/main.ts"), "boot", ...args], { encoding: "utf8", env: { ...env, HOME: folder } });
  test("no QEMU: exit 4, and what to install", () => {
    expect(run([], { PATH: folder })).toMatchObject({ status: 4, stderr: expect.stringMatching(/setpriv|qemu-system-x86/) as string });
  });
  test("arguments that make no sense: exit 2, before anything is started", () => {
    for (const args of [["--iommu", "via"], ["--timeout", "soon"], ["--inject-fault", "fire"], ["--device", "floppy"]]) expect(run(args, { PATH: folder }).status).toBe(2);
  });
});

test("a trace goes to a file, compressed when its name says so", () => {
  const path = join(folder, "trace.jsonl.gz");
  const trace = openTrace(path);
  trace.line("{}");
  trace.close();
  expect(spawnSync("gzip", ["-dc", path], { encoding: "utf8" }).stdout).toBe("{}\n");
  expect(() => openTrace(join(folder, "no/where"))).toThrow("cannot be written");
});

describe.skipIf(process.platform !== "linux" || process.arch !== "x64")("a program that does a script of system calls", () => {
  const program = join(folder, "syscalls");
  writeFileSync(program, syscallProgram());
  chmodSync(program, 0o755);
  const WRITE = 1;
  const GETPID = 39;

  test("text, results of earlier calls, and the end of the script", () => {
    const script = new SyscallScript();
    const text = script.text("hello");
    script.call(WRITE, 1, text, 5);
    const pid = script.call(GETPID);
    script.call(WRITE, 1, pid.at, 8);
    // An argument that is what a call gave: the length of the second write.
    const length = script.call(WRITE, 1, text, 2);
    script.call(WRITE, 1, text, length);
    const { status, stdout, pid: own } = spawnSync(program, { input: script.bytes() });
    expect(status).toBe(0);
    expect(stdout.subarray(0, 5).toString()).toBe("hello");
    expect(stdout.readBigUInt64LE(5)).toBe(BigInt(own));
    expect(stdout.subarray(13).toString()).toBe("hehe");
  });
  test("a script that is cut off ends the program", () => {
    const script = new SyscallScript();
    script.call(GETPID);
    expect(spawnSync(program, { input: script.bytes().subarray(0, 40) }).status).toBe(0);
  });
});
