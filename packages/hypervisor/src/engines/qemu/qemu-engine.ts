import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import type { Hpa } from "@iommu-lab/memory";
import type { Engine, EngineEnd, EngineOptions, EngineSession, GuestBus } from "../engine.ts";
import type { ProxyRequest } from "./proxy-wire.ts";
import { PROGRAM, QemuProcess, type ProxiedFunction } from "./qemu-process.ts";
import { RegisterCarrier } from "./register-carrier.ts";
import { SharedRam } from "./shared-ram.ts";

/** A Linux to boot. */
export interface LinuxProgram {
  /** Path of a bzImage. */
  readonly kernel: string;
  /** Path. */
  readonly initrd?: string;
  readonly commandLine: string;
}

/** Carriers of register windows, from here on: where QEMU's q35 has nothing of its own. */
const FIRST_CARRIER = 0x1d << 3;
/** More than QEMU takes for its firmware. */
const PLACEMENT_TIMEOUT = 20_000;

/** QEMU's TCG as the processor, everything else ours. Needs QEMU's multi-process device, which is experimental: it is probed. */
export class QemuEngine implements Engine<LinuxProgram> {
  readonly name = "qemu";

  unavailable(): string | undefined {
    if (process.platform !== "linux") return "QEMU as an engine needs Linux.";
    if (!existsSync("/dev/shm")) return "There is no /dev/shm; mount a tmpfs there.";
    if (spawnSync("setpriv", ["--version"]).error) return "setpriv cannot be run; it is in the package util-linux.";
    const { error, stdout } = spawnSync(PROGRAM, ["-device", "help"], { encoding: "utf8" });
    if (error) return `${PROGRAM} cannot be run (${error.message}); Debian has it in the package qemu-system-x86.`;
    return stdout.includes('"x-pci-proxy-dev"') ? undefined : `This ${PROGRAM} has no x-pci-proxy-dev (multi-process QEMU); Debian's 7.2 has.`;
  }

  open(options: EngineOptions): EngineSession<LinuxProgram> {
    return new QemuSession(options);
  }
}

class QemuSession implements EngineSession<LinuxProgram> {
  readonly memory: SharedRam;
  readonly ended: Promise<EngineEnd>;
  readonly #console: (bytes: Uint8Array) => void;
  #end: (end: EngineEnd) => void = () => undefined;
  #process: QemuProcess | undefined;
  #stopped = false;

  constructor({ ram, console }: EngineOptions) {
    this.memory = new SharedRam(ram);
    this.#console = console;
    this.ended = new Promise((resolve) => {
      this.#end = (end) => {
        this.memory.close();
        resolve(end);
      };
    });
  }

  message(address: number, data: number): void {
    this.#process?.message(address, data);
  }

  type(bytes: Uint8Array): void {
    this.#process?.type(bytes);
  }

  async start(program: LinuxProgram, make: (windows: readonly Hpa[]) => GuestBus): Promise<void> {
    const windows = await this.#place(make);
    if (windows === undefined) return;
    const bus = make(windows);
    const guest = (this.#process = new QemuProcess({ ram: this.memory, functions: functionsOf(bus), tables: bus.tables, console: this.#console, ...program }));
    void guest.ended.then(({ code, complaint }) => {
      this.#finish(this.#stopped ? { reason: "stopped" } : code === 0 ? { reason: "powered-off" } : { reason: "failed", text: complaint === "" ? `QEMU ended with ${code ?? "a signal"}.` : complaint });
    });
  }

  async stop(): Promise<EngineEnd> {
    this.#stopped = true;
    if (this.#process) this.#process.kill();
    else this.#finish({ reason: "stopped" });
    return this.ended;
  }

  #finish(end: EngineEnd): void {
    this.#process = undefined;
    this.#end(end);
  }

  /** Lets firmware alone run, with the same functions, to see where it puts the windows: it does the same each time. */
  async #place(make: (windows: readonly Hpa[]) => GuestBus): Promise<readonly Hpa[] | undefined> {
    const trial = make([]);
    const functions = functionsOf(trial);
    const carriers = functions.filter((fn) => fn instanceof RegisterCarrier);
    let seen: () => void = () => undefined;
    const placed = new Promise<void>((resolve) => (seen = resolve));
    const watched = functions.map(
      (fn): ProxiedFunction => ({
        devfn: fn.devfn,
        handle: (request) => {
          const answer = fn.handle(request);
          if (carriers.every(({ base }) => base !== undefined)) seen();
          return answer;
        },
      }),
    );
    const firmware = (this.#process = new QemuProcess({ ram: this.memory, functions: watched, console: () => undefined }));
    const timer = setTimeout(() => {
      firmware.kill();
    }, PLACEMENT_TIMEOUT);
    await Promise.race([placed, firmware.ended]);
    clearTimeout(timer);
    firmware.kill();
    const { complaint } = await firmware.ended;
    this.#process = undefined;
    const windows = carriers.flatMap(({ base }) => base ?? []);
    if (this.#stopped) this.#finish({ reason: "stopped" });
    else if (windows.length < carriers.length) this.#finish({ reason: "failed", text: complaint === "" ? "QEMU's firmware gave the IOMMU's registers no place." : complaint });
    else return windows;
    return undefined;
  }
}

const functionsOf = (bus: GuestBus): ProxiedFunction[] => [...bus.functions.map((devfn) => new BusFunction(bus, devfn)), ...bus.windows.map(({ size, handler }, i) => new RegisterCarrier(FIRST_CARRIER + 8 * i, size, () => handler))];

/** A function of the board, behind the proxy. */
class BusFunction implements ProxiedFunction {
  readonly devfn: number;
  readonly #bus: GuestBus;
  readonly #bytes = new Uint8Array(8);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(bus: GuestBus, devfn: number) {
    this.#bus = bus;
    this.devfn = devfn;
  }

  handle(request: Exclude<ProxyRequest, { readonly kind: "notice" }>): bigint {
    switch (request.kind) {
      case "config-read":
        return BigInt(this.#bus.configRead(this.devfn, request.offset, request.size) >>> 0);
      case "config-write":
        this.#bus.configWrite(this.devfn, request.offset, request.size, request.value);
        return 0n;
      case "bar-read":
        this.#bytes.fill(0);
        this.#bus.memoryRead(request.address, this.#bytes.subarray(0, request.size));
        return this.#view.getBigUint64(0, true);
      case "bar-write":
        this.#view.setBigUint64(0, request.value, true);
        this.#bus.memoryWrite(request.address, this.#bytes.subarray(0, request.size));
        return 0n;
      case "reset":
        return 0n;
    }
  }
}
