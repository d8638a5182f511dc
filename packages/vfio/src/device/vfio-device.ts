import { formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { Attachment } from "@iommu-lab/pci-bus/model";
import { Migration } from "../migration/migration.ts";
import type { VfioKernel } from "../vfio-kernel.ts";
import { VfioError } from "../vfio-error.ts";
import { accessRegion } from "./bar-access.ts";
import { VirtualConfig } from "./config/virtual-config.ts";
import { DeviceInterrupts } from "./device-interrupts.ts";
import type { DeviceQuirks } from "./device-quirks.ts";
import { hotReset, hotResetInfo, type HotResetCaller, type HotResetEntry } from "./hot-reset.ts";
import { IRQ_COUNT, IrqIndex, type IrqInfo, type IrqSet } from "./irq-flags.ts";
import { msixTableOf, REGION_COUNT, RegionIndex, regionInfo, type MsixTable, type RegionInfo } from "./regions.ts";
import { resetBy, resetMethods, restoreState, saveState, type ResetMethod, type SavedState } from "./reset-methods.ts";
import type { Group } from "../groups/group.ts";

/** Whose file a device was opened from. */
export interface DeviceOwner {
  /** The device was closed once. */
  closed(device: VfioDevice): void;
  /** For a device's own file: whether its iommufd owns a group. */
  ownsGroup?(group: number): boolean;
}

/** VFIO_DEVICE_GET_INFO. */
export interface DeviceInfo {
  /** The device can be reset alone. VFIO_DEVICE_FLAGS_RESET. */
  readonly reset: boolean;
  readonly regions: number;
  readonly irqs: number;
}

/** How `VfioKernel` makes a device. */
interface VfioDeviceOptions {
  readonly kernel: VfioKernel;
  readonly address: FunctionAddress;
  readonly owner: DeviceOwner;
  readonly quirks: DeviceQuirks;
}

const COMMAND = 4;
const BUS_MASTER = 4;

/** An open device: what a user does with an assigned function. Linux drivers/vfio/pci/vfio_pci_core.c. */
export class VfioDevice {
  readonly address: FunctionAddress;
  readonly interrupts: DeviceInterrupts;
  readonly #kernel: VfioKernel;
  readonly #seat: Attachment;
  readonly #quirks: DeviceQuirks;
  readonly #config: VirtualConfig;
  readonly #table: MsixTable | undefined;
  readonly #resets: readonly ResetMethod[];
  readonly #migration: Migration | undefined;
  readonly #owners: DeviceOwner[];
  readonly #atOpen: SavedState;
  #asleep: SavedState | undefined;

  /** Use `Group.getDevice`. Opening stops the function's DMA and resets it. */
  constructor({ kernel, address, owner, quirks }: VfioDeviceOptions) {
    const seat = kernel.complex.find(address);
    if (!seat) throw new VfioError("ENODEV", `There is no function ${formatAddress(address)}.`);
    this.address = address;
    this.#kernel = kernel;
    this.#seat = seat;
    this.#quirks = quirks;
    this.#owners = [owner];
    this.#table = msixTableOf(seat, seat.places.msix);
    this.#resets = resetMethods(kernel.complex, seat, quirks);
    this.#setBusMaster(false);
    this.#resetAndRestore();
    this.#atOpen = saveState(kernel.complex, seat);
    this.#config = new VirtualConfig(
      seat,
      {
        read: (offset, size) => kernel.complex.configRead(address, offset, size),
        write: (offset, size, value) => { kernel.complex.configWrite(address, offset, size, value); },
        reset: () => { this.#resetAndRestore(); },
        setPowerState: (state) => { this.#setPowerState(state); },
        setIntxMask: (on) => { this.interrupts.setUserIntxMask(on); },
        msiActive: () => this.interrupts.active === IrqIndex.Msi,
      },
      kernel.drivers.identityOf(address),
    );
    this.interrupts = new DeviceInterrupts(kernel, seat, this.#table, () => (this.#config.command & 0x400) !== 0);
    this.#migration = quirks.migration && new Migration(quirks.migration);
  }

  /** `dddd:bb:dd.f`. */
  get name(): string {
    return formatAddress(this.address);
  }

  /** Ways the function can be reset alone, best first: reset_method in sysfs. */
  get resetMethods(): readonly ResetMethod[] {
    return this.#resets;
  }

  /** VFIO_DEVICE_FEATURE_MIGRATION and what belongs to it. @throws VfioError ENOTTY for a device that no variant driver can migrate */
  get migration(): Migration {
    if (!this.#migration) throw new VfioError("ENOTTY", `${this.name} cannot be migrated: its driver offers no VFIO_DEVICE_FEATURE_MIGRATION.`);
    return this.#migration;
  }

  /** VFIO_DEVICE_GET_INFO. */
  info(): DeviceInfo {
    return { reset: this.#resets.length > 0, regions: REGION_COUNT, irqs: IRQ_COUNT };
  }

  /** VFIO_DEVICE_GET_REGION_INFO. @throws VfioError EINVAL for an index the device cannot have */
  regionInfo(index: number): RegionInfo {
    const info = regionInfo(this.#seat, index, this.#table);
    if (!info) throw new VfioError("EINVAL", `${this.name} has no region ${index}.`);
    return info;
  }

  /** VFIO_DEVICE_GET_IRQ_INFO. @throws VfioError EINVAL for an index the device cannot have */
  irqInfo(index: number): IrqInfo {
    this.#requireOpen();
    return this.interrupts.info(index);
  }

  /** VFIO_DEVICE_SET_IRQS; see `DeviceInterrupts.set`. */
  setIrqs(request: IrqSet): number {
    this.#requireOpen();
    return this.interrupts.set(request);
  }

  /**
   * pread at a region's offset: fills as much of `into` as the region has. No bytes are no access, whatever the region.
   * @returns bytes read. @throws VfioError EINVAL for a region that is not there or an offset at or past its end; EFAULT when
   *   part of it is past configuration space; EIO for memory, of a BAR or the ROM, that does not decode now
   */
  readRegion(index: number, offset: number, into: Uint8Array): number {
    return this.#access(index, offset, into, false);
  }

  /** pwrite; likewise. @throws VfioError also EINVAL for the ROM, which cannot be written, wherever */
  writeRegion(index: number, offset: number, from: Uint8Array): number {
    return this.#access(index, offset, from, true);
  }

  /** VFIO_DEVICE_RESET: the function alone. The user's configuration stays, interrupts stay programmed. @throws VfioError EINVAL without a reset method */
  reset(): void {
    this.#requireOpen();
    if (this.#resets.length === 0) throw new VfioError("EINVAL", `${this.name} cannot be reset alone: no FLR, PM reset or bus reset is available.`);
    this.#resetAndRestore();
    this.#migration?.reset();
  }

  /**
   * VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: everything that a bus reset would reach.
   * @param room entries that the caller has room for
   * @throws VfioError in this order: ENODEV without a bus reset; EPERM, opened through the group, when something without a group
   *   would be reset; ENOSPC for too little room
   */
  hotResetInfo(room = Infinity): readonly HotResetEntry[] {
    this.#requireOpen();
    return hotResetInfo(this.#kernel, this.#seat, this.#quirks, this.#hotResetCaller, room);
  }

  /**
   * VFIO_DEVICE_PCI_HOT_RESET.
   * @param groups open groups that prove who owns what is reset; none for a device opened from its own file
   * @throws VfioError in this order: EINVAL for no groups, or for groups with a device's own file; ENODEV without a bus reset;
   *   EINVAL for more groups than functions, one that no VFIO driver has, or one that is not the caller's
   */
  hotReset(groups: readonly Group[]): void {
    this.#requireOpen();
    hotReset(this.#kernel, this.#seat, this.#quirks, this.#hotResetCaller, groups);
  }

  /** Closes the file; with the last one interrupts go off, DMA stops, and the function is reset. */
  close(): void {
    this.#requireOpen();
    const owner = this.#owners.pop();
    if (this.#owners.length === 0) this.#disable();
    owner?.closed(this);
  }

  /** Opened once more. For `VfioKernel`. */
  reopen(owner: DeviceOwner): void {
    this.#owners.push(owner);
  }

  /** A bus reset is over. For `hotReset`. */
  restoreAfterReset(saved: SavedState): void {
    restoreState(this.#kernel.complex, this.#seat, saved);
    this.interrupts.restore();
  }

  #access(index: number, offset: number, bytes: Uint8Array, write: boolean): number {
    this.#requireOpen();
    if (bytes.length === 0) return 0;
    if (index === RegionIndex.Config) {
      if (write) this.#config.writeFrom(offset, bytes);
      else this.#config.readInto(offset, bytes);
      return bytes.length;
    }
    const info = this.regionInfo(index);
    if (info.size === 0) throw new VfioError("EINVAL", `${this.name} has no region ${index}.`);
    const memoryOn = this.#asleep === undefined && (!this.#seat.virtualOf || (this.#config.command & 2) !== 0);
    return accessRegion({ kernel: this.#kernel, seat: this.#seat, table: this.#table, memoryOn }, info, offset, bytes, write);
  }

  get #hotResetCaller(): HotResetCaller {
    const [owner] = this.#owners;
    return { ownsGroup: owner?.ownsGroup?.bind(owner) };
  }

  #resetAndRestore(): void {
    const [method] = this.#resets;
    if (method === undefined) return;
    const { complex } = this.#kernel;
    const saved = saveState(complex, this.#seat);
    resetBy(complex, this.#seat, method, this.#quirks);
    restoreState(complex, this.#seat, saved);
    // Undefined while the constructor runs.
    (this.interrupts as DeviceInterrupts | undefined)?.restore();
  }

  #setPowerState(state: number): void {
    const { complex } = this.#kernel;
    const at = this.#seat.places.power + 4;
    const asleep = this.#asleep;
    if (state === 3 && !asleep) this.#asleep = saveState(complex, this.#seat);
    complex.configWrite(this.address, at, 2, (complex.configRead(this.address, at, 2) & ~3) | state);
    if (state === 3 || !asleep) return;
    // Many functions come out of D3hot as after a reset. PCIe §5.3.1.4.
    this.#asleep = undefined;
    this.restoreAfterReset(asleep);
  }

  #disable(): void {
    this.#setBusMaster(false);
    if (this.#asleep) this.#setPowerState(0);
    this.interrupts.disableAll();
    restoreState(this.#kernel.complex, this.#seat, this.#atOpen);
    this.#resetAndRestore();
    this.#kernel.deviceClosed(this);
  }

  #setBusMaster(on: boolean): void {
    const { complex } = this.#kernel;
    const command = complex.configRead(this.address, COMMAND, 2);
    complex.configWrite(this.address, COMMAND, 2, on ? command | BUS_MASTER : command & ~BUS_MASTER);
  }

  #requireOpen(): void {
    if (this.#owners.length === 0) throw new TypeError(`The file of ${this.name} is closed.`);
  }
}
