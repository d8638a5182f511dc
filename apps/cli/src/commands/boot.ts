import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Board, ImpossibleIommu, type BoardCounters, type IommuChoice } from "@iommu-lab/hypervisor/board";
import { VirtioConsole } from "@iommu-lab/hypervisor/devices";
import { QemuEngine } from "@iommu-lab/hypervisor/engines/qemu";
import { injectFault, overflowLog, type InjectedFault, type InjectionSite } from "@iommu-lab/hypervisor/faults";
import type { Clock } from "@iommu-lab/pci-bus";
import { CommandError, ExitCode } from "../exit-code.ts";
import { debianBusybox, debianKernel, defaultCache } from "../guest/debian-kernel.ts";
import { GuestFailure } from "../guest/failure.ts";
import { deviceOptions, faultOption, iommuOption } from "../guest/guest-options.ts";
import { memoryDisk, RawDisk } from "../guest/raw-disk.ts";
import { openTrace, type TraceFileWriter } from "../guest/trace-file.ts";
import { guestFileSystem, Mark } from "../guest/self-test.ts";

/** Options of `iommu boot` as the parser gives them. */
export interface BootCommandOptions {
  readonly iommu: string;
  readonly kernel: string | undefined;
  readonly initrd: string | undefined;
  readonly append: string | undefined;
  readonly disk: string | undefined;
  readonly devices: readonly string[];
  readonly faults: readonly string[];
  readonly suite: string | undefined;
  readonly timeout: string;
  readonly offline: boolean;
  readonly machineTrace: string | undefined;
}

const RAM = 512 * 2 ** 20;
/** The self-test writes 64 MiB. */
const MEMORY_DISK = 72 * 2 ** 20;
/** Milliseconds after the start at which the log overflows: the driver is up. */
const OVERFLOW_AT = 15_000;
const PANIC = "Kernel panic";
/** How a kernel complains about itself. */
const COMPLAINTS = ["WARNING: ", "BUG: ", "Call Trace:", "Oops: ", "soft lockup", "rcu: INFO"];

/** Real time, as time-outs of a real guest want it. */
const wallClock = (): Clock => {
  const start = process.hrtime.bigint();
  return {
    get now() {
      return Number(process.hrtime.bigint() - start);
    },
    after: (delay, action) => {
      const timer = setTimeout(action, delay / 1e6);
      return () => {
        clearTimeout(timer);
      };
    },
  };
};

const secondsOf = (text: string): number => {
  const seconds = Number(text);
  if (!(seconds > 0)) throw new CommandError(ExitCode.BadInput, `--timeout takes seconds, not "${text}".`);
  return seconds;
};

const commandLine = ({ vendor, interruptRemapping = true, scalable = false, levels = 4 }: IommuChoice, append: string | undefined): string =>
  [
    "console=ttyS0 panic=-1 printk.devkmsg=on",
    ...(vendor === "intel" ? [`intel_iommu=on${scalable ? ",sm_on" : ",sm_off"}`] : scalable || levels === 5 ? ["amd_iommu=pgtbl_v2"] : []),
    // QEMU's own I/O APIC does not know our remapping: the timer's interrupt would be missed.
    ...(interruptRemapping ? ["no_timer_check"] : ["intremap=off"]),
    ...(append === undefined ? [] : [append]),
  ].join(" ");

const countersText = ({ translations, hits, misses, faults, interrupts }: BoardCounters): string => `${translations} translations, ${hits} hits, ${misses} misses, ${faults} faults, ${interrupts} interrupts`;

/** Watches a console for what decides how a boot ended. */
class ConsoleWatch {
  panicked = false;
  /** The first of its complaints. */
  complaint: string | undefined;
  passed = false;
  failed = false;
  /** Faults that the self-test makes on purpose. */
  expectedFaults = 0;
  #tail = "";

  push(bytes: Uint8Array): void {
    const text = this.#tail + Buffer.from(bytes).toString("latin1");
    this.panicked ||= text.includes(PANIC);
    this.complaint ??= COMPLAINTS.find((each) => text.includes(each));
    this.passed ||= text.includes(Mark.passed);
    this.failed ||= text.includes(Mark.failed);
    if (text.includes(Mark.expectedFault)) this.expectedFaults = 1;
    this.#tail = text.slice(-Math.max(...[PANIC, ...Object.values(Mark)].map(({ length }) => length)));
  }
}

/** Kernel and initial file system: given, or Debian's and ours. Ours goes with a kernel of one's own too, if that has its drivers built in. */
const bootFiles = (options: BootCommandOptions, work: string, interactive: boolean): { readonly kernel: string; readonly initrd: string; readonly ours: boolean } => {
  const source = { cache: defaultCache(), ...(options.suite === undefined ? {} : { suite: options.suite }), offline: options.offline, progress: (text: string) => process.stderr.write(`${text}\n`) };
  for (const path of [options.kernel, options.initrd]) if (path !== undefined && !existsSync(path)) throw new CommandError(ExitCode.BadInput, `${path} does not exist.`);
  const debian = options.kernel === undefined ? debianKernel(source) : undefined;
  const kernel = options.kernel ?? debian?.kernel ?? "";
  if (options.initrd !== undefined) return { kernel, initrd: options.initrd, ours: false };
  const initrd = join(work, "initrd");
  writeFileSync(initrd, guestFileSystem(debianBusybox(source), debian?.modules, interactive ? "shell" : "self-test"));
  return { kernel, initrd, ours: true };
};

/** `iommu boot`: a Linux whose IOMMU is the model. */
export const runBoot = async (options: BootCommandOptions): Promise<ExitCode> => {
  const choice = iommuOption(options.iommu);
  const devices = deviceOptions(options.devices);
  const faults = options.faults.map(faultOption);
  const timeout = secondsOf(options.timeout);
  const engine = new QemuEngine();
  const missing = engine.unavailable();
  if (missing !== undefined) throw new CommandError(ExitCode.NotEnough, missing);
  const interactive = process.stdin.isTTY && process.stdout.isTTY;
  const work = mkdtempSync(join(tmpdir(), "iommu-boot-"));
  let disk: RawDisk | undefined;
  try {
    const { kernel, initrd, ours } = bootFiles(options, work, interactive);
    disk = options.disk === undefined ? undefined : new RawDisk(options.disk);
    return await boot({ choice, devices, faults, disk: disk ?? memoryDisk(MEMORY_DISK), kernel, initrd, ours, interactive, timeout, append: options.append, engine, trace: options.machineTrace === undefined ? undefined : openTrace(options.machineTrace) });
  } catch (error) {
    if (error instanceof GuestFailure) throw new CommandError(ExitCode.NotEnough, error.message);
    if (error instanceof ImpossibleIommu || error instanceof RangeError) throw new CommandError(ExitCode.BadInput, error.message);
    throw error;
  } finally {
    disk?.close();
    rmSync(work, { recursive: true, force: true });
  }
};

interface Boot {
  readonly choice: IommuChoice;
  readonly devices: ReturnType<typeof deviceOptions>;
  readonly faults: readonly InjectedFault[];
  readonly disk: ReturnType<typeof memoryDisk>;
  readonly kernel: string;
  readonly initrd: string;
  /** The initial file system is ours: it tells how its test went. */
  readonly ours: boolean;
  readonly interactive: boolean;
  readonly timeout: number;
  readonly append: string | undefined;
  readonly engine: QemuEngine;
  readonly trace: TraceFileWriter | undefined;
}

const boot = async ({ choice, devices, faults, disk, kernel, initrd, ours, interactive, timeout, append, engine, trace }: Boot): Promise<ExitCode> => {
  const watch = new ConsoleWatch();
  const output = (bytes: Uint8Array): void => {
    process.stdout.write(bytes);
  };
  const session = engine.open({
    ram: RAM,
    console: (bytes) => {
      watch.push(bytes);
      output(bytes);
    },
  });
  const guestConsole = new VirtioConsole(output);
  const clock = wallClock();
  const site: InjectionSite = {
    vendor: choice.vendor,
    memory: session.memory,
    clock,
    happened: (text) => {
      process.stderr.write(`injected ${text}\n`);
    },
  };
  let board: Board | undefined;
  const stop = (): void => {
    void session.stop();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, stop);
  let late = false;
  const timer = interactive ? undefined : setTimeout(() => {
    late = true;
    stop();
  }, timeout * 1000);
  if (interactive) {
    process.stdin.setRawMode(true);
    process.stdin.on("data", (bytes: Buffer) => {
      guestConsole.input(bytes);
    });
  }
  const ticker = setInterval(() => {
    if (board !== undefined && !interactive) process.stderr.write(`${countersText(board.counters)}\n`);
  }, 5000);
  try {
    await session.start({ kernel, initrd, commandLine: commandLine(choice, append) }, (windows) => {
      board = new Board({ memory: session.memory, message: (address, data) => { session.message(address, data); }, clock, iommu: choice, devices: devices({ disk, console: guestConsole }), registerBase: windows[0] ?? 0, taps: faults.map((fault) => injectFault(fault, site)), ...(trace && windows.length > 0 ? { trace: trace.line } : {}) });
      return board;
    });
    for (const { kind, count } of faults) if (kind === "overflow-log") setTimeout(() => { if (board) overflowLog(board.iommu, count); }, OVERFLOW_AT).unref();
    const end = await session.ended;
    if (end.reason === "failed") throw new CommandError(ExitCode.Fault, end.text ?? "The guest ended for no known reason.");
  } finally {
    trace?.close();
    clearTimeout(timer);
    clearInterval(ticker);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.off(signal, stop);
    if (interactive) {
      process.stdin.setRawMode(false);
      process.stdin.unref();
    }
  }
  return verdict(board, watch, late, ours && !interactive, faults.length > 0);
};

const verdict = (board: Board | undefined, watch: ConsoleWatch, late: boolean, tested: boolean, injected: boolean): ExitCode => {
  const say = (text: string): void => {
    process.stderr.write(`${text}\n`);
  };
  if (board === undefined) return ExitCode.Fault;
  say(countersText(board.counters));
  for (const access of new Set(board.unknownAccesses)) say(`unknown register: ${access}`);
  if (late) {
    say("The guest did not power off in time; --timeout gives it longer.");
    return ExitCode.TimedOut;
  }
  const wrong = [
    ...(watch.panicked ? ["the kernel panicked"] : []),
    ...(watch.complaint !== undefined && !injected ? [`the kernel complained ("${watch.complaint.trim()}")`] : []),
    // Whoever injects faults wants to see the driver get over them.
    ...(board.counters.faults !== watch.expectedFaults && !injected ? [`the IOMMU reported ${board.counters.faults} faults, ${watch.expectedFaults} were wanted`] : []),
    ...(tested && !watch.passed ? [watch.failed ? "the self-test failed" : "the self-test did not end"] : []),
    ...(board.unknownAccesses.length > 0 ? ["the guest used registers that are not there"] : []),
  ];
  if (wrong.length === 0) return ExitCode.Fine;
  say(`Not as it should be: ${wrong.join("; ")}.`);
  return ExitCode.Finding;
};
