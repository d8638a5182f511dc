/** Memory and an upstream port without any bus: what a function does with them, seen from nearby. */
import { FlatMemory } from "@iommu-lab/memory";
import { Completion, type PciFunction, type UpstreamPort } from "@iommu-lab/pci-bus";

const SIZE = 0x20_0000;

export class Bench implements UpstreamPort {
  readonly requester = 0x28;
  readonly memory = new FlatMemory(SIZE);
  /** Messages sent, address and data. */
  readonly messages: (readonly [address: number, data: number])[] = [];
  /** The level of pin A. */
  pin = false;
  /** Every access: the first byte and how many. */
  readonly reads: (readonly [address: bigint, length: number])[] = [];
  /** Says which accesses fail beside those past the end of memory. */
  refuses: (address: number, write: boolean) => boolean = () => false;

  dmaRead(address: number | bigint, into: Uint8Array): Completion {
    this.reads.push([BigInt(address), into.length]);
    if (!this.#reaches(address, into.length, false)) return Completion.UnsupportedRequest;
    this.memory.readInto(Number(address), into);
    return Completion.Successful;
  }

  dmaWrite(address: number | bigint, from: Uint8Array): Completion {
    if (!this.#reaches(address, from.length, true)) return Completion.UnsupportedRequest;
    this.memory.writeFrom(Number(address), from);
    return Completion.Successful;
  }

  translate(): Completion {
    return Completion.UnsupportedRequest;
  }

  pageRequest(): void {
    // no function here has PRI
  }

  message(address: number | bigint, data: number): Completion {
    this.messages.push([Number(address), data]);
    return Completion.Successful;
  }

  interruptPin(pin: number, asserted: boolean): void {
    if (pin === 0) this.pin = asserted;
  }

  #reaches(address: number | bigint, length: number, write: boolean): boolean {
    return Number(address) + length <= SIZE && !this.refuses(Number(address), write);
  }
}

/** Switches MSI-X on for a function with its table in BAR 0 and lets vector n be a message to 0xfee01000 with data 0x40 + n. */
export const programMsix = (fn: PciFunction, tableAt: number, vectors: number): void => {
  for (let vector = 0; vector < vectors; vector++) for (const [word, value] of [0xfee0_1000, 0, 0x40 + vector, 0].entries()) fn.bars[0]?.write(tableAt + 16 * vector + 4 * word, 4, value);
  fn.config.write(capabilityOf(fn, 0x11) + 2, 2, 0x8000);
};

/** Offset of the first capability with this id, by the list in configuration space; 0 when there is none. */
export const capabilityOf = ({ config }: PciFunction, id: number): number => {
  let at = config.read(0x34, 1);
  while (at !== 0 && config.read(at, 1) !== id) at = config.read(at + 1, 1);
  return at;
};
