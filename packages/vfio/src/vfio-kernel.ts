import { formatAddress, type FunctionAddress, type IommuDriver } from "@iommu-lab/pci-bus";
import type { RootComplex } from "@iommu-lab/pci-bus/model";
import { Container } from "./container/container.ts";
import type { HostVectors } from "./device/host-vectors.ts";
import { VfioDevice, type DeviceOwner } from "./device/vfio-device.ts";
import type { DeviceQuirks } from "./device/device-quirks.ts";
import type { ProbeFailure } from "./drivers/pci-driver.ts";
import type { PciDrivers } from "./drivers/pci-drivers.ts";
import { GroupOwnership, type OwnershipOptions } from "./groups/group-ownership.ts";
import { Group } from "./groups/group.ts";
import { DeviceFile } from "./iommufd/device-file.ts";
import { Iommufd } from "./iommufd/iommufd.ts";
import type { UserProcess } from "./process/user-process.ts";
import { VfioError } from "./vfio-error.ts";

/** A machine as its kernel's VFIO sees it. */
export interface VfioKernelOptions extends OwnershipOptions {
  readonly complex: RootComplex;
  readonly drivers: PciDrivers;
  readonly vectors: HostVectors;
  /** Bits of an IOVA; default 48. */
  readonly addressWidth?: number;
  /** The IOMMU remaps interrupts; default true. */
  readonly interruptRemapping?: boolean;
  /** Module parameter allow_unsafe_interrupts: users get devices though these can forge interrupts. */
  readonly allowUnsafeInterrupts?: boolean;
  /** Ranges one container may map; default 65535. Module parameter dma_entry_limit. */
  readonly dmaEntryLimit?: number;
  /** What some device does beside what its configuration space says. */
  readonly quirks?: (address: FunctionAddress) => DeviceQuirks | undefined;
}

/** What a kernel offers in /dev/vfio on one machine. Linux drivers/vfio/vfio_main.c. */
export class VfioKernel {
  readonly complex: RootComplex;
  readonly iommu: IommuDriver;
  readonly drivers: PciDrivers;
  readonly vectors: HostVectors;
  readonly ownership: GroupOwnership;
  readonly addressWidth: number;
  readonly dmaEntryLimit: number;
  readonly interruptRemapping: boolean;
  /** Users cannot raise each other's interrupts, or are trusted not to. */
  readonly interruptsIsolated: boolean;
  readonly #quirks: (address: FunctionAddress) => DeviceQuirks | undefined;
  readonly #groups = new Map<number, Group>();
  readonly #devices = new Map<string, VfioDevice>();

  constructor(options: VfioKernelOptions) {
    const { complex, iommu, drivers, vectors, addressWidth = 48, interruptRemapping = true, allowUnsafeInterrupts = false, dmaEntryLimit = 65_535, quirks } = options;
    this.complex = complex;
    this.iommu = iommu;
    this.drivers = drivers;
    this.vectors = vectors;
    this.addressWidth = addressWidth;
    this.dmaEntryLimit = dmaEntryLimit;
    this.interruptRemapping = interruptRemapping;
    this.interruptsIsolated = interruptRemapping || allowUnsafeInterrupts;
    this.ownership = new GroupOwnership(options);
    this.#quirks = quirks ?? (() => undefined);
    drivers.vfioRefusal = (address) => this.#refusal(address);
  }

  /** Opens /dev/vfio/vfio. */
  openContainer(process: UserProcess): Container {
    return new Container(this, process);
  }

  /** Opens /dev/vfio/ID. @throws VfioError ENOENT when no member is bound to a VFIO driver: there is no such file; EBUSY when it is open */
  openGroup(id: number): Group {
    const { members } = this.ownership.group(id);
    if (!members.some((address) => this.drivers.driverOf(address)?.vfio)) throw new VfioError("ENOENT", `There is no /dev/vfio/${id}: no function of group ${id} is bound to vfio-pci.`);
    if (this.#groups.has(id) || this.ownership.ownerOf(id)) throw new VfioError("EBUSY", `/dev/vfio/${id} is open already; a group has one user.`);
    const group = new Group(this, id);
    this.#groups.set(id, group);
    return group;
  }

  /** Opens /dev/iommu. */
  openIommufd(process: UserProcess): Iommufd {
    return new Iommufd(this, process);
  }

  /** Opens /dev/vfio/devices/vfioN of a function. @throws VfioError ENOENT when it is not bound to a VFIO driver */
  openDeviceFile(address: FunctionAddress): DeviceFile {
    if (!this.drivers.driverOf(address)?.vfio) throw new VfioError("ENOENT", `${formatAddress(address)} is not bound to vfio-pci, so it has no file in /dev/vfio/devices.`);
    return new DeviceFile(this, address);
  }

  /** Whether some user has the group open. */
  isOpen(id: number): boolean {
    return this.#groups.has(id);
  }

  /** Whether a device is open, by whatever file. */
  isDeviceOpen(address: FunctionAddress): boolean {
    return this.#devices.has(formatAddress(address));
  }

  /** Devices that are open now. */
  get openDevices(): readonly VfioDevice[] {
    return [...this.#devices.values()];
  }

  /** An INTx wire changed its level: for `RootComplexOptions.interruptWire`. */
  interruptWire(): void {
    for (const device of this.#devices.values()) device.interrupts.pollIntx();
  }

  /** For `Group` and device files. */
  openDevice(address: FunctionAddress, owner: DeviceOwner): VfioDevice {
    const key = formatAddress(address);
    const open = this.#devices.get(key);
    if (open) {
      open.reopen(owner);
      return open;
    }
    const device = new VfioDevice({ kernel: this, address, owner, quirks: this.#quirks(address) ?? {} });
    this.#devices.set(key, device);
    return device;
  }

  /** For `VfioDevice`. */
  deviceClosed(device: VfioDevice): void {
    this.#devices.delete(formatAddress(device.address));
  }

  /** For `Group`. */
  groupClosed(group: Group): void {
    this.#groups.delete(group.id);
  }

  /** What a VFIO driver's probe says, in the order of Linux vfio_pci_core_register_device. */
  #refusal(address: FunctionAddress): ProbeFailure | undefined {
    if (this.complex.find(address)?.virtual.length) return { code: "EBUSY", text: "its virtual functions are switched on, and others may use them" };
    return this.ownership.groupOf(address) ? undefined : { code: "EINVAL", text: "it is in no IOMMU group" };
  }
}
