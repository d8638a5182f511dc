/**
 * QEMU with an IOMMU and seven `edu` devices, driven through its qtest socket. Debian's build has no qtest
 * accelerator: the processor runs under TCG and stands in a `hlt`, and with `-icount sleep=off` the virtual clock,
 * on which edu's DMA timer waits, jumps from timer to timer.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hex, type Machine } from "./machine.ts";
import { DEVICES, requesterOf } from "./program.ts";

/** The program under test is no longer there, or answers nonsense. */
export class QemuFailure extends Error {
  override readonly name = "QemuFailure";
}

const FIRST_BAR = 0xfe00_0000;
const BAR_SIZE = 0x10_0000;
const ROOT_PORT = "00:02.0";
/** A DMA takes a handful of polls; one that takes this many hangs. */
const MOST_POLLS = 20_000;
const START_TRIES = 400;

/** edu's registers and buffer, in its BAR. QEMU docs/specs/edu.rst. */
const EDU = { raise: 0x60, acknowledge: 0x64, source: 0x80, target: 0x88, count: 0x90, command: 0x98, buffer: 0x4_0000 } as const;

/** The last bytes of a 64 KiB BIOS: `cli; hlt; jmp` back to the `hlt`, where the processor starts. Intel SDM vol. 3 "First Instruction Executed". */
const bios = (): Uint8Array => {
  const image = new Uint8Array(0x1_0000).fill(0xf4);
  image.set([0xfa, 0xf4, 0xeb, 0xfd], 0xfff0);
  return image;
};

/** One event line of QEMU's log, and the numbers in it in order. */
export interface QemuEvent {
  readonly name: string;
  readonly numbers: readonly bigint[];
}

/** Machines that run: none outlives this process. */
const running = new Set<Qemu>();
process.on("exit", () => {
  for (const qemu of running) qemu.stop();
});

export class Qemu {
  readonly #machine: Machine;
  readonly #folder = mkdtempSync(join(tmpdir(), "iommu-lab-qemu-"));
  readonly #process: ChildProcess;
  readonly #log: number;
  #logPosition = 0;
  #logRest = "";
  #socket: Socket | undefined;
  #received = "";
  readonly #waiting: { readonly resolve: (line: string) => void; readonly reject: (error: Error) => void }[] = [];
  #gone: QemuFailure | undefined;
  #complaints = "";

  private constructor(machine: Machine) {
    this.#machine = machine;
    running.add(this);
    const file = (name: string): string => join(this.#folder, name);
    writeFileSync(file("bios"), bios());
    writeFileSync(file("log"), "");
    this.#log = openSync(file("log"), "r");
    const onBus0 = DEVICES.filter((bdf) => bdf.startsWith("00:"));
    const edu = onBus0.flatMap((bdf) => ["-device", `edu,addr=${bdf.slice(3)},multifunction=on,dma_mask=0xffffffffffffffff`]);
    this.#process = spawn(
      "qemu-system-x86_64",
      [
        ...["-machine", "q35,kernel-irqchip=off", "-accel", "tcg", "-icount", "shift=0,sleep=off", "-bios", file("bios"), "-m", "6G", "-nodefaults", "-display", "none"],
        ...["-qtest", `unix:${file("qtest")},server=on,wait=off`, "-qtest-log", "/dev/null", "-d", machine.events.map((name) => `trace:${name}`).join(","), "-D", file("log")],
        ...["-device", machine.device, ...edu, "-device", `pcie-root-port,id=below,addr=${ROOT_PORT.slice(3)}`, "-device", "edu,bus=below,addr=00.0,dma_mask=0xffffffffffffffff"],
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    this.#process.stderr?.on("data", (part: Uint8Array) => (this.#complaints += Buffer.from(part).toString()));
    this.#process.on("error", (error) => { this.#fail(`qemu-system-x86_64 cannot be started: ${error.message}`); });
    this.#process.on("exit", (code, signal) => { this.#fail(`QEMU ended (${signal ?? `exit code ${code ?? 0}`})${this.#complaints === "" ? "" : `: ${this.#complaints.trim()}`}`); });
  }

  /** Starts a machine, its devices in place and at reset. @throws QemuFailure */
  static async start(machine: Machine): Promise<Qemu> {
    const qemu = new Qemu(machine);
    try {
      await qemu.#connect();
      await qemu.#placeDevices();
    } catch (error) {
      qemu.stop();
      throw error;
    }
    return qemu;
  }

  stop(): void {
    running.delete(this);
    this.#process.removeAllListeners("exit");
    this.#process.kill("SIGKILL");
    this.#socket?.destroy();
    closeSync(this.#log);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async readMemory(addr: number, len: number): Promise<Uint8Array> {
    const text = await this.#ask(`read ${hex(addr)} ${hex(len)}`);
    return Uint8Array.from(Buffer.from(text.slice(2), "hex"));
  }

  async writeMemory(addr: number, data: Uint8Array): Promise<void> {
    if (data.length > 0) await this.#ask(`write ${hex(addr)} ${hex(data.length)} 0x${Buffer.from(data).toString("hex")}`);
  }

  async readRegister(off: number, size: 4 | 8): Promise<bigint> {
    return BigInt(await this.#ask(`${size === 8 ? "readq" : "readl"} ${hex(this.#machine.registers + off)}`));
  }

  async writeRegister(off: number, size: 4 | 8, value: bigint): Promise<void> {
    await this.#ask(`${size === 8 ? "writeq" : "writel"} ${hex(this.#machine.registers + off)} ${hex(value)}`);
  }

  /** Lets a device move `len` bytes between `at` in its buffer and an I/O virtual address. */
  async dma(bdf: string, direction: "read" | "write", iova: bigint, at: number, len: number): Promise<void> {
    const bar = barOf(bdf);
    const inside = BigInt(EDU.buffer + at);
    const [source, target] = direction === "read" ? [iova, inside] : [inside, iova];
    const write = async (register: number, value: bigint): Promise<unknown> => this.#ask(`writeq ${hex(bar + register)} ${hex(value)}`);
    await Promise.all([write(EDU.source, source), write(EDU.target, target), write(EDU.count, BigInt(len)), write(EDU.command, direction === "read" ? 1n : 3n)]);
    for (let polls = 0; polls < MOST_POLLS; polls++) if ((BigInt(await this.#ask(`readq ${hex(bar + EDU.command)}`)) & 1n) === 0n) return;
    throw new QemuFailure(`DMA of ${bdf} does not end.`);
  }

  /** Lets a device send an MSI. */
  async message(bdf: string, addr: number, data: number): Promise<void> {
    const at = await this.#msiCapability(bdf);
    await this.writeConfig(bdf, at + 4, addr);
    await this.writeConfig(bdf, at + 8, 0);
    await this.writeConfig(bdf, at + 12, data);
    await this.writeConfig(bdf, at, 0x0001_0000 | ((await this.readConfig(bdf, at)) & 0xffff));
    await this.#ask(`writel ${hex(barOf(bdf) + EDU.raise)} 0x1`);
    await this.#ask(`writel ${hex(barOf(bdf) + EDU.acknowledge)} 0x1`);
  }

  /** What the IOMMU's code told since the last call. */
  events(): QemuEvent[] {
    const piece = new Uint8Array(1 << 16);
    let text = this.#logRest;
    for (let read = readSync(this.#log, piece, 0, piece.length, this.#logPosition); read > 0; read = readSync(this.#log, piece, 0, piece.length, this.#logPosition)) {
      text += Buffer.from(piece.subarray(0, read)).toString("latin1");
      this.#logPosition += read;
    }
    const lines = text.split("\n");
    this.#logRest = lines.pop() ?? "";
    return lines.flatMap((line) => {
      const name = this.#machine.events.find((event) => line.startsWith(`${event} `));
      if (name === undefined) return [];
      const numbers = [...line.matchAll(/0x[0-9a-f]+|(?<= )\d+(?= |$)/g)].map(([text]) => BigInt(text));
      return [{ name, numbers }];
    });
  }

  async #connect(): Promise<void> {
    for (let tries = 0; ; tries++) {
      if (this.#gone) throw this.#gone;
      try {
        this.#socket = await new Promise<Socket>((resolve, reject) => {
          const socket = connect(join(this.#folder, "qtest"), () => { resolve(socket); });
          socket.once("error", reject);
        });
        break;
      } catch (error) {
        if (tries === START_TRIES) throw new QemuFailure(`QEMU does not open its qtest socket: ${String(error)}`);
        await new Promise((resolve) => { setTimeout(resolve, 10); });
      }
    }
    // QEMU's own last words, which come with its exit, say more than a broken socket.
    this.#socket.on("error", () => undefined);
    this.#socket.on("close", () => setTimeout(() => { this.#fail("QEMU closed its qtest socket"); }, 500));
    this.#socket.on("data", (part) => {
      this.#received += part.toString();
      const lines = this.#received.split("\n");
      this.#received = lines.pop() ?? "";
      for (const line of lines) this.#waiting.shift()?.resolve(line);
    });
  }

  /** Bus numbers, BARs, bus mastering, MSI: what firmware would do. */
  async #placeDevices(): Promise<void> {
    const behind = barOf("01:00.0") >>> 16;
    await this.writeConfig(ROOT_PORT, 0x18, 0x0001_0100);
    await this.writeConfig(ROOT_PORT, 0x20, (behind << 16) | behind);
    await this.writeConfig(ROOT_PORT, 0x04, 0x7);
    for (const bdf of DEVICES) {
      if ((await this.readConfig(bdf, 0)) !== 0x11e8_1234) throw new QemuFailure(`There is no edu at ${bdf}.`);
      await this.writeConfig(bdf, 0x10, barOf(bdf));
      await this.writeConfig(bdf, 0x04, 0x6);
    }
  }

  async #msiCapability(bdf: string): Promise<number> {
    for (let at = (await this.readConfig(bdf, 0x34)) & 0xfc; at !== 0; ) {
      const word = await this.readConfig(bdf, at);
      if ((word & 0xff) === 5) return at;
      at = (word >>> 8) & 0xfc;
    }
    throw new QemuFailure(`The edu at ${bdf} has no MSI capability.`);
  }

  async #selectConfig(bdf: string, off: number): Promise<void> {
    await this.#ask(`outl 0xcf8 ${hex((0x8000_0000 | (requesterOf(bdf) << 8) | off) >>> 0)}`);
  }

  async writeConfig(bdf: string, off: number, value: number): Promise<void> {
    await this.#selectConfig(bdf, off);
    await this.#ask(`outl 0xcfc ${hex(value >>> 0)}`);
  }

  async readConfig(bdf: string, off: number): Promise<number> {
    await this.#selectConfig(bdf, off);
    return Number(await this.#ask("inl 0xcfc"));
  }

  /** One qtest command; gives what follows "OK". */
  async #ask(command: string): Promise<string> {
    if (this.#gone) throw this.#gone;
    const answer = await new Promise<string>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#socket?.write(`${command}\n`);
    });
    if (!answer.startsWith("OK")) throw new QemuFailure(`QEMU answers "${answer}" to "${command.slice(0, 80)}".`);
    return answer.slice(3);
  }

  #fail(message: string): void {
    this.#gone ??= new QemuFailure(message);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#gone);
  }
}

const barOf = (bdf: string): number => FIRST_BAR + BAR_SIZE * DEVICES.indexOf(bdf);
