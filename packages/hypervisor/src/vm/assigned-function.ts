import type { AccessSize, MmioHandler } from "@iommu-lab/memory";
import type { ConfigSpace, PciFunction } from "@iommu-lab/pci-bus";
import { barBase, findCapabilities, sizeBars, type Attachment, type BarRegister, type CapabilityPlaces } from "@iommu-lab/pci-bus/model";
import { RegionFlag, RegionIndex, type VfioDevice } from "@iommu-lab/vfio";
import { byParts } from "../devices/by-parts.ts";
import { GuestMessages, MessageKind, type GuestMessage, type InterruptPath } from "./guest-messages.ts";
import type { VirtualMachine } from "./virtual-machine.ts";

const COMMAND = 4;
const MEMORY_SPACE = 2;
const BARS = { at: 0x10, count: 6 } as const;
const MSIX_ENTRY = 16;
const MASKED = 1;
const [ENABLE, FUNCTION_MASK] = [0x8000, 0x4000];

/**
 * A function of the host as the guest sees it: configuration space and BARs through VFIO, the MSI-X table made up by the hypervisor,
 * and what VFIO lets be mapped reached without an exit.
 */
export class AssignedFunction implements PciFunction {
  readonly config: ConfigSpace;
  readonly bars: readonly (MmioHandler | undefined)[];
  readonly device: VfioDevice;
  readonly #vm: VirtualMachine;
  readonly #host: Attachment;
  readonly #messages: GuestMessages;
  /** Undefined while configuration space is looked through for the first time. */
  readonly #places: CapabilityPlaces | undefined;
  readonly #registers: readonly BarRegister[];
  #ready = false;
  /** The guest's MSI-X table. */
  readonly #table: Uint8Array;
  readonly #tableAt: { readonly bar: number; readonly offset: number } | undefined;
  #msixControl = 0;
  /** Low byte of MSI's control register as the guest wrote it. */
  #msiControl = 0;
  readonly #mapped = new Map<number, number[]>();

  /** @param host the function in its place on the host's bus */
  constructor(vm: VirtualMachine, device: VfioDevice, host: Attachment, path: InterruptPath) {
    this.#vm = vm;
    this.device = device;
    this.#host = host;
    this.#messages = new GuestMessages(vm, device, path);
    this.config = this.#makeConfig();
    const places = (this.#places = findCapabilities(this.config));
    const { msix } = places;
    const word = msix ? this.#regionRead(RegionIndex.Config, msix + 4, 4) : 0;
    this.#tableAt = msix ? { bar: word & 7, offset: (word & ~7) >>> 0 } : undefined;
    this.#table = new Uint8Array(msix ? MSIX_ENTRY * ((this.#regionRead(RegionIndex.Config, msix + 2, 2) & 0x7ff) + 1) : 0);
    for (let at = 12; at < this.#table.length; at += MSIX_ENTRY) this.#table[at] = MASKED;
    this.#registers = sizeBars(this.config, BARS.at, BARS.count);
    this.#ready = true;
    this.bars = Array.from({ length: BARS.count }, (_, index) => (this.#registers.some((bar) => bar.index === index) ? this.#barHandler(index) : undefined));
  }

  connect(): void {
    // The function itself is on the host's bus: its DMA never comes through here.
  }

  /** The guest is gone, or gives the function back. */
  release(): void {
    this.#messages.off();
    this.#unmapAll();
    this.device.close();
  }

  /** Takes the registers out of the second-stage tables: every access leaves the guest from now on. */
  unmapRegisters(): void {
    this.#unmapAll();
  }

  #makeConfig(): ConfigSpace {
    return {
      size: 4096,
      read: (offset, size) => this.#patched(offset, size, this.#regionRead(RegionIndex.Config, offset, size)),
      write: (offset, size, value) => {
        this.#regionWrite(RegionIndex.Config, offset, size, value);
        this.#written(offset, size, value);
      },
    };
  }

  /** MSI-X control reads as the guest wrote it: the real one is the kernel's. */
  #patched(offset: number, size: AccessSize, value: number): number {
    const at = this.#places?.msix ?? 0;
    if (at === 0 || offset + size <= at + 2 || offset >= at + 4) return value;
    const shift = 8 * (at + 2 - offset);
    const mask = (ENABLE | FUNCTION_MASK) * 2 ** shift;
    return shift >= 0 ? ((value & ~mask) | (this.#msixControl * 2 ** shift)) >>> 0 : (value & ~((ENABLE | FUNCTION_MASK) >> 8)) | (this.#msixControl >> 8);
  }

  #written(offset: number, size: AccessSize, value: number): void {
    const places = this.#places;
    if (!places || !this.#ready) return;
    const end = offset + size;
    if (places.msix && end > places.msix + 3 && offset <= places.msix + 3) {
      const high = (value >>> (8 * (places.msix + 3 - offset))) & 0xff;
      this.#msixControl = (high << 8) & (ENABLE | FUNCTION_MASK);
      this.#syncMsix();
    }
    if (places.msi && end > places.msi + 2 && offset <= places.msi + 2) {
      this.#msiControl = (value >>> (8 * (places.msi + 2 - offset))) & 0xff;
      this.#syncMsi(places.msi);
    } else if (places.msi && end > places.msi + 4 && offset < places.msi + 0x10 && (this.#msiControl & 1) !== 0) this.#syncMsi(places.msi);
    if (offset < 0x28 && end > COMMAND) this.#syncMappings();
  }

  #syncMsix(): void {
    if ((this.#msixControl & ENABLE) === 0) {
      this.#messages.off();
      return;
    }
    const view = new DataView(this.#table.buffer);
    const masked = (this.#msixControl & FUNCTION_MASK) !== 0;
    const messages = Array.from({ length: this.#table.length / MSIX_ENTRY }, (_, vector): GuestMessage | undefined => {
      const at = vector * MSIX_ENTRY;
      return masked || (view.getUint32(at + 12, true) & MASKED) !== 0 ? undefined : { address: view.getUint32(at, true), data: view.getUint32(at + 8, true) };
    });
    this.#messages.use(MessageKind.Msix, messages);
  }

  #syncMsi(at: number): void {
    // The guest's own word: VFIO shows the enable bit only once somebody takes the interrupts.
    if ((this.#msiControl & 1) === 0) {
      if (this.#msixControl === 0) this.#messages.off();
      return;
    }
    const control = this.#regionRead(RegionIndex.Config, at + 2, 2);
    const count = 1 << ((this.#msiControl >> 4) & 7);
    const address = this.#regionRead(RegionIndex.Config, at + 4, 4);
    const data = this.#regionRead(RegionIndex.Config, at + ((control & 0x80) !== 0 ? 12 : 8), 2);
    this.#messages.use(MessageKind.Msi, Array.from({ length: count }, (_, vector) => ({ address, data: (data & ~(count - 1)) | vector })));
  }

  /** Second-stage tables follow the guest's BARs. */
  #syncMappings(): void {
    this.#unmapAll();
    if ((this.#regionRead(RegionIndex.Config, COMMAND, 2) & MEMORY_SPACE) === 0) return;
    const decoded = this.#host.decoded();
    for (const register of this.#registers) {
      const { areas, flags } = this.device.regionInfo(register.index);
      const host = decoded.find(({ bar }) => bar.index === register.index)?.base;
      if (register.kind === "io" || (flags & RegionFlag.Mmap) === 0 || host === undefined) continue;
      const gpa = barBase(this.config, register);
      if (gpa < this.#vm.memory.size) continue;
      this.#mapped.set(register.index, areas.map(({ offset, size }) => {
        this.#vm.mapDirect(gpa + offset, host + offset, size);
        return gpa + offset;
      }));
    }
  }

  #unmapAll(): void {
    for (const addresses of this.#mapped.values()) for (const gpa of addresses) this.#vm.unmapDirect(gpa);
    this.#mapped.clear();
  }

  #barHandler(index: number): MmioHandler {
    const table = this.#tableAt?.bar === index ? this.#tableAt : undefined;
    const inTable = (offset: number): number => (table && offset >= table.offset && offset < table.offset + this.#table.length ? offset - table.offset : -1);
    const read = (offset: number, size: AccessSize): number => {
      const at = inTable(offset);
      return at < 0 ? this.#regionRead(index, offset, size) : little(this.#table, at, size);
    };
    const write = (offset: number, size: AccessSize, value: number): void => {
      const at = inTable(offset);
      if (at < 0) {
        this.#regionWrite(index, offset, size, value);
        return;
      }
      for (let i = 0; i < size; i++) this.#table[at + i] = value >>> (8 * i);
      if ((this.#msixControl & ENABLE) !== 0) this.#syncMsix();
    };
    return byParts(read, write);
  }

  #regionRead(index: number, offset: number, size: AccessSize): number {
    const bytes = new Uint8Array(size);
    // A BAR that does not decode answers nobody.
    try {
      this.device.readRegion(index, offset, bytes);
    } catch {
      bytes.fill(0xff);
    }
    return little(bytes, 0, size);
  }

  #regionWrite(index: number, offset: number, size: AccessSize, value: number): void {
    const bytes = Uint8Array.from({ length: size }, (_, i) => (value >>> (8 * i)) & 0xff);
    try {
      this.device.writeRegion(index, offset, bytes);
    } catch {
      // Likewise: the write is dropped.
    }
  }
}

const little = (bytes: Uint8Array, at: number, size: AccessSize): number => {
  let value = 0;
  for (let i = size - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? 0xff);
  return value;
};
