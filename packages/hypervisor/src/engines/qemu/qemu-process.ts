import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, unlinkSync, writeSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { ProxyReader, proxyReturn, type ProxyRequest } from "./proxy-wire.ts";
import type { SharedRam } from "./shared-ram.ts";

/** A PCI function that QEMU shows its guest and asks us about. */
export interface ProxiedFunction {
  /** Place on bus 0: device number times 8 plus function. */
  readonly devfn: number;
  /** The value for reads. A message that injects interrupts may go out before the guest sees that the access ended. */
  handle(request: Exclude<ProxyRequest, { readonly kind: "notice" }>): bigint;
}

/** What QEMU is started with. */
export interface QemuOptions {
  readonly ram: SharedRam;
  readonly functions: readonly ProxiedFunction[];
  /** Paths. Without a kernel the firmware finds nothing to boot. */
  readonly kernel?: string;
  readonly initrd?: string;
  readonly commandLine?: string;
  /** ACPI tables beside QEMU's own, whole. */
  readonly tables?: readonly Uint8Array[];
  /** What the guest sends over its serial line. */
  readonly console: (bytes: Uint8Array) => void;
}

/** How QEMU ended. */
export interface QemuEnd {
  /** Exit code; null when a signal ended it. */
  readonly code: number | null;
  /** What it said on standard error. */
  readonly complaint: string;
}

/** Debian: package qemu-system-x86. */
export const PROGRAM = "qemu-system-x86_64";
/** The first file descriptors belong to standard streams. */
const FIRST_FD = 3;
/** What stands before the body of an ACPI table. */
const ACPI_HEADER = 36;

/** A file without a name, to hand over by its number. */
const namelessFile = (bytes: Uint8Array): number => {
  const path = join("/dev/shm", `iommu-lab-${process.pid}-${Math.random().toString(36).slice(2)}`);
  const fd = openSync(path, "wx+", 0o600);
  unlinkSync(path);
  writeSync(fd, bytes, 0, bytes.length, 0);
  return fd;
};

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** `-acpitable`: the fields of the header that a table names itself, and its body in a file. */
const tableArgument = (table: Uint8Array, path: string): string => {
  const field = (start: number, end: number): string => text(table.subarray(start, end)).replace(/[\0 ]+$/, "").replaceAll(",", ",,");
  return `sig=${field(0, 4)},rev=${table[8] ?? 1},oem_id=${field(10, 16) || "IOMMUL"},oem_table_id=${field(16, 24) || "IOMMULAB"},data=${path}`;
};

/**
 * QEMU as a processor: its guest's memory is a file of ours, its PCI functions are ours behind `x-pci-proxy-dev`, and
 * interrupts are written into its APIC through qtest. It dies with the process that started it, and has no files.
 */
export class QemuProcess {
  /** Fulfilled once when it is gone. */
  readonly ended: Promise<QemuEnd>;
  readonly #process: ChildProcess;
  readonly #qtest: Socket;
  readonly #serial: Socket;

  /** @throws Error when the file system for shared memory is full */
  constructor(options: QemuOptions) {
    const { ram, functions, tables = [], kernel, initrd, commandLine } = options;
    const tableFiles = tables.map((table) => namelessFile(table.subarray(ACPI_HEADER)));
    const stdio = ["ignore", "ignore", "pipe", ram.fd, "pipe", "pipe", ...tableFiles, ...functions.map(() => "pipe" as const)] as const;
    const [ramFd, qtestFd, serialFd, firstTable] = [FIRST_FD, FIRST_FD + 1, FIRST_FD + 2, FIRST_FD + 3];
    const firstFunction = firstTable + tables.length;
    const args = [
      ["-machine", "q35,accel=tcg,memory-backend=ram,i8042=off", "-cpu", "max", "-smp", "1", "-m", `${ram.size / 2 ** 20}`],
      ["-object", `memory-backend-file,id=ram,size=${ram.size},mem-path=/proc/self/fd/${ramFd},share=on`],
      ["-nodefaults", "-no-reboot", "-display", "none", "-vga", "none", "-nic", "none"],
      ["-chardev", `socket,id=qtest,fd=${qtestFd}`, "-qtest", "chardev:qtest", "-qtest-log", "none"],
      ["-chardev", `socket,id=serial,fd=${serialFd}`, "-serial", "chardev:serial"],
      tables.flatMap((table, i) => ["-acpitable", tableArgument(table, `/proc/self/fd/${firstTable + i}`)]),
      functions.flatMap(({ devfn }, i) => ["-device", `x-pci-proxy-dev,id=function${i},fd=${firstFunction + i},multifunction=on,addr=0x${(devfn >> 3).toString(16)}.${devfn & 7}`]),
      kernel === undefined ? [] : ["-kernel", kernel],
      initrd === undefined ? [] : ["-initrd", initrd],
      commandLine === undefined ? [] : ["-append", commandLine],
    ].flat();
    const child = spawn("setpriv", ["--pdeathsig", "KILL", PROGRAM, ...args], { stdio: [...stdio] });
    for (const fd of tableFiles) closeSync(fd);
    this.#process = child;
    this.#qtest = child.stdio[qtestFd] as Socket;
    this.#serial = child.stdio[serialFd] as Socket;
    this.#serial.on("data", options.console);
    this.#qtest.resume();
    for (const [i, fn] of functions.entries()) serve(child.stdio[firstFunction + i] as Socket, fn, (error) => {
      child.emit("error", error);
    });
    for (const stream of child.stdio) stream?.on("error", () => undefined); // a pipe breaks when the other side is gone: `ended` tells
    let complaint = "";
    child.stderr?.on("data", (chunk: Buffer) => (complaint += chunk.toString()));
    this.ended = new Promise((resolve) => {
      child.once("error", (error) => {
        this.kill();
        resolve({ code: null, complaint: `${complaint}${error.message}` });
      });
      child.once("close", (code) => {
        resolve({ code, complaint: complaint.trim() });
      });
    });
  }

  /** A write of 32 bits to guest-physical memory as a device's message is one: to 0xfeex_xxxx an interrupt. */
  message(address: number, data: number): void {
    if (!this.#qtest.destroyed) this.#qtest.write(`writel 0x${address.toString(16)} 0x${(data >>> 0).toString(16)}\n`);
  }

  /** To the guest's serial line. */
  type(bytes: Uint8Array): void {
    if (!this.#serial.destroyed) this.#serial.write(bytes);
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }
}

const serve = (socket: Socket, fn: ProxiedFunction, failed: (error: Error) => void): void => {
  const reader = new ProxyReader();
  socket.on("data", (chunk) => {
    try {
      for (const request of reader.push(chunk)) if (request.kind !== "notice") socket.write(proxyReturn(fn.handle(request)));
    } catch (error) {
      socket.destroy();
      failed(error instanceof Error ? error : new Error(String(error)));
    }
  });
};
