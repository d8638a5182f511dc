import { compareAddresses, formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { VgaArbiter } from "../arbiter/arbiter.ts";
import type { VgaDevice } from "../arbiter/device.ts";
import type { VgaRequest } from "../arbiter/request.ts";
import { VgaArbiterError } from "../legacy/error.ts";
import { formatResources, LEGACY_RESOURCES, VgaResource, type VgaResources } from "../legacy/resources.ts";
import { parseCommand } from "./command.ts";

/** A write must be shorter than this. */
const WRITE_LIMIT = 64;
const READ_LIMIT = 1024;

/** What one file holds of one device. */
interface Card {
  readonly device: VgaDevice | undefined;
  io: number;
  memory: number;
}

/** How a write ended: the bytes it took, or a `lock` that sleeps until another file or driver releases the ranges. */
export type WriteResult = number | { readonly waiting: VgaRequest };

/** Length in UTF-8. */
const bytesOf = (text: string): number => {
  let bytes = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x1_0000 ? 3 : 4;
  }
  return bytes;
};

/** One open /dev/vga_arbiter: it has a target of its own and releases its locks when it is closed. */
export class OpenArbiterFile {
  readonly #arbiter: VgaArbiter;
  readonly #maxCards: number;
  readonly #cards: Card[];
  #target: VgaDevice | undefined;
  #pending: readonly VgaRequest[] = [];
  #closed = false;

  constructor(arbiter: VgaArbiter, maxCards: number) {
    this.#arbiter = arbiter;
    this.#maxCards = maxCards;
    this.#target = arbiter.defaultDevice;
    this.#cards = [{ device: this.#target, io: 0, memory: 0 }];
  }

  /** The device that reads and commands are about. */
  get target(): VgaDevice | undefined {
    return this.#target;
  }

  /**
   * The state of the target: number of decoding devices, address, what it decodes and owns, and the locks of all holders.
   * Every read gives the whole text anew; there is no end of file. "invalid" without a target.
   * @param count bytes that the reader has room for
   */
  read(count = READ_LIMIT): string {
    this.#mustBeOpen();
    const state = this.#target && this.#arbiter.stateOf(this.#target);
    if (!state) return "invalid".slice(0, count);
    const { decodes, owns, locks, ioLocks, memoryLocks } = state;
    const text = `count:${this.#arbiter.decodeCount},PCI:${formatAddress(state.device.address)},decodes=${formatResources(decodes)},owns=${formatResources(owns)},locks=${formatResources(locks)}(${ioLocks}:${memoryLocks})\n`;
    return text.slice(0, Math.min(count, READ_LIMIT));
  }

  /**
   * One command: `target`, `lock`, `trylock`, `unlock` or `decodes`.
   * @param resumed of a `lock` that had to wait: called with the bytes taken when the ranges are there, or with the error
   * @throws VgaArbiterError EINVAL (too long, or nothing held to unlock), EPROTO (not understood), ENODEV (no target), ENOMEM (too many targets), EBUSY (`trylock`), EIO
   */
  write(text: string, resumed?: (result: number | VgaArbiterError) => void): WriteResult {
    this.#mustBeOpen();
    const count = bytesOf(text);
    if (count >= WRITE_LIMIT) throw new VgaArbiterError("EINVAL", `A command has fewer than ${WRITE_LIMIT} bytes; this one has ${count}.`);
    const command = parseCommand(text);
    if (!command) throw new VgaArbiterError("EPROTO", "Not a command of /dev/vga_arbiter.");
    if (command.kind === "target") {
      this.#setTarget(command.address);
      return count;
    }
    if (command.kind === "lock" && command.resources === VgaResource.None) throw new VgaArbiterError("EPROTO", "There is nothing in none to lock.");
    const target = this.#requireTarget();
    if (command.kind === "lock") return this.#lock(target, command.resources, count, resumed);
    if (command.kind === "trylock") this.#tryLock(target, command.resources);
    else if (command.kind === "unlock") this.#unlock(target, command.resources === "all" ? LEGACY_RESOURCES : command.resources);
    else this.#arbiter.setLegacyDecodingByUser(target, command.resources);
    return count;
  }

  /** There is always something to read; `onWake` of the arbiter tells when it may have changed. */
  poll(): "readable" {
    this.#mustBeOpen();
    return "readable";
  }

  /** Releases whatever this file locked and gives up a `lock` that still waits. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const request of this.#pending) request.cancel();
    for (const card of this.#cards) {
      if (!card.device) continue;
      for (; card.io > 0; card.io--) this.#arbiter.put(card.device, VgaResource.LegacyIo);
      for (; card.memory > 0; card.memory--) this.#arbiter.put(card.device, VgaResource.LegacyMemory);
    }
  }

  #mustBeOpen(): void {
    if (this.#closed) throw new TypeError("This file is closed.");
  }

  #requireTarget(): VgaDevice {
    if (!this.#target) throw new VgaArbiterError("ENODEV", "This file has no target.");
    return this.#target;
  }

  #setTarget(address: FunctionAddress | "default"): void {
    const device = address === "default" ? this.#arbiter.defaultDevice : this.#arbiter.states.find((state) => compareAddresses(state.device.address, address) === 0)?.device;
    if (address !== "default" && !device) throw new VgaArbiterError("ENODEV", "No VGA device has this address.");
    // The kernel sets the target first: it stays even when there is no room to count its locks.
    this.#target = device;
    if (this.#cards.some((card) => card.device === device)) return;
    if (this.#cards.length >= this.#maxCards) throw new VgaArbiterError("ENOMEM", `One file targets at most ${this.#maxCards} devices.`);
    this.#cards.push({ device, io: 0, memory: 0 });
  }

  #count(device: VgaDevice, resources: VgaResources, by: 1 | -1): void {
    const card = this.#cards.find((each) => each.device === device);
    if (!card) return;
    if (resources & VgaResource.LegacyIo) card.io += by;
    if (resources & VgaResource.LegacyMemory) card.memory += by;
  }

  #lock(target: VgaDevice, resources: VgaResources, count: number, resumed?: (result: number | VgaArbiterError) => void): WriteResult {
    let waited = false;
    const request = this.#arbiter.get(target, resources, ({ status, error }) => {
      if (status === "granted") this.#count(target, resources, 1);
      if (waited) resumed?.(error ?? count);
    });
    if (request.error) throw request.error;
    if (request.status === "granted") return count;
    waited = true;
    this.#pending = [...this.#pending.filter(({ status }) => status === "waiting"), request];
    return { waiting: request };
  }

  #tryLock(target: VgaDevice, resources: VgaResources): void {
    this.#arbiter.tryGet(target, resources);
    this.#count(target, resources, 1);
  }

  #unlock(target: VgaDevice, resources: VgaResources): void {
    const card = this.#cards.find((each) => each.device === target);
    if (!card || (resources & VgaResource.LegacyIo && card.io === 0) || (resources & VgaResource.LegacyMemory && card.memory === 0)) throw new VgaArbiterError("EINVAL", "This file holds no such lock on its target.");
    this.#count(target, resources, -1);
    this.#arbiter.put(target, resources);
  }
}
