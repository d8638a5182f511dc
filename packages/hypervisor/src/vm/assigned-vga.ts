import type { AccessSize } from "@iommu-lab/memory";
import { VGA_MEMORY } from "@iommu-lab/pci-bus/model";
import { LEGACY_RESOURCES, type VgaArbiter, type VgaDevice } from "@iommu-lab/vga-arbiter";
import type { Machine } from "../machine/machine.ts";

/** What takes a guest's accesses to the legacy VGA ranges. */
export interface LegacyVgaAccess {
  /** @param offset from 0xa_0000 */
  memory(offset: number, bytes: Uint8Array, write: boolean): void;
  portRead(port: number, size: AccessSize): number;
  portWrite(port: number, size: AccessSize, value: number): void;
}

const allOnes = (size: AccessSize): number => 2 ** (8 * size) - 1;

/**
 * The legacy ranges of a host's card, as its VM reaches them: each access locks the ranges for the card, is carried out, and
 * unlocks them. Linux drivers/vfio/pci/vfio_pci_rdwr.c, vfio_pci_vga_rw().
 */
export class AssignedVga implements LegacyVgaAccess {
  /** Accesses that had to wait for somebody else's lock. */
  waits = 0;
  /** Nanoseconds that they waited. */
  waited = 0;
  readonly #machine: Machine;
  readonly #device: VgaDevice;
  readonly #arbiter: VgaArbiter | undefined;

  /** @param arbiter without one accesses go wherever the ranges are routed just then */
  constructor(machine: Machine, device: VgaDevice, arbiter: VgaArbiter | undefined) {
    this.#machine = machine;
    this.#device = device;
    this.#arbiter = arbiter;
  }

  memory(offset: number, bytes: Uint8Array, write: boolean): void {
    const { complex } = this.#machine;
    const address = VGA_MEMORY.base + offset;
    const done = this.#locked(() => {
      if (write) complex.memoryWrite(address, bytes);
      else complex.memoryRead(address, bytes);
      return 0;
    });
    if (done === undefined && !write) bytes.fill(0xff);
  }

  portRead(port: number, size: AccessSize): number {
    return this.#locked(() => this.#machine.complex.ioRead(port, size)) ?? allOnes(size);
  }

  portWrite(port: number, size: AccessSize, value: number): void {
    this.#locked(() => {
      this.#machine.complex.ioWrite(port, size, value);
      return 0;
    });
  }

  /** Undefined when the ranges cannot be routed to the card. @throws RangeError when it would wait for ever */
  #locked(access: () => number): number | undefined {
    const arbiter = this.#arbiter;
    if (!arbiter) return access();
    const { clock } = this.#machine;
    const request = arbiter.get(this.#device, LEGACY_RESOURCES);
    if (request.status === "waiting") this.waits++;
    const since = clock.now;
    while (request.status === "waiting") {
      if (clock.skip()) continue;
      request.cancel();
      throw new RangeError("Nobody will ever release the VGA ranges that this access waits for.");
    }
    this.waited += clock.now - since;
    if (request.status !== "granted") return undefined;
    const value = access();
    arbiter.put(this.#device, LEGACY_RESOURCES);
    return value;
  }
}
