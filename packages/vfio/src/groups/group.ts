import { formatAddress, parseAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { Container } from "../container/container.ts";
import type { VfioDevice } from "../device/vfio-device.ts";
import type { VfioKernel } from "../vfio-kernel.ts";
import { VfioError } from "../vfio-error.ts";

/** VFIO_GROUP_GET_STATUS. */
export interface GroupStatus {
  /** All members are fit for a user. VFIO_GROUP_FLAGS_VIABLE. */
  readonly viable: boolean;
  /** VFIO_GROUP_FLAGS_CONTAINER_SET. */
  readonly containerSet: boolean;
}

/** An open /dev/vfio/N. Linux drivers/vfio/group.c. */
export class Group {
  readonly id: number;
  readonly #kernel: VfioKernel;
  readonly #devices = new Map<VfioDevice, number>();
  #container: Container | undefined;
  #open = true;

  /** Use `VfioKernel.openGroup`. */
  constructor(kernel: VfioKernel, id: number) {
    this.#kernel = kernel;
    this.id = id;
  }

  /** Members by address. */
  get functions(): readonly FunctionAddress[] {
    return this.#kernel.ownership.group(this.id).members;
  }

  get container(): Container | undefined {
    return this.#container;
  }

  /** VFIO_GROUP_GET_STATUS. */
  status(): GroupStatus {
    this.#requireOpen();
    const containerSet = this.#container !== undefined;
    return { viable: containerSet || (this.#kernel.ownership.ownerOf(this.id) === undefined && this.#kernel.ownership.blockers(this.id).length === 0), containerSet };
  }

  /** VFIO_GROUP_SET_CONTAINER. @throws VfioError EINVAL when it has one, EPERM when the group is not viable, and what the container's IOMMU says */
  setContainer(container: Container): void {
    this.#requireOpen();
    if (this.#container) throw new VfioError("EINVAL", `Group ${this.id} is in a container already.`);
    this.#kernel.ownership.claim(this.id, this);
    try {
      container.attach(this);
    } catch (error) {
      this.#kernel.ownership.release(this.id);
      throw error;
    }
    this.#container = container;
  }

  /** VFIO_GROUP_UNSET_CONTAINER. @throws VfioError EINVAL without a container, EBUSY while a device is open */
  unsetContainer(): void {
    this.#requireOpen();
    if (!this.#container) throw new VfioError("EINVAL", `Group ${this.id} is in no container.`);
    if (this.#devices.size > 0) throw new VfioError("EBUSY", `Devices of group ${this.id} are open.`);
    this.#leave();
  }

  /**
   * VFIO_GROUP_GET_DEVICE_FD. A device may be opened more than once; the first open resets it.
   * @param name `dddd:bb:dd.f`
   * @throws VfioError ENODEV when the group has no such device bound to VFIO, EINVAL without a container with an IOMMU
   */
  getDevice(name: string): VfioDevice {
    this.#requireOpen();
    const address = parseAddress(name);
    const member = address && this.functions.find((each) => formatAddress(each) === formatAddress(address));
    if (!member || !this.#kernel.drivers.driverOf(member)?.vfio) throw new VfioError("ENODEV", `Group ${this.id} has no function ${name} that a VFIO driver offers.`);
    if (!this.#container?.iommu) throw new VfioError("EINVAL", `Group ${this.id} is in no container with an IOMMU: set both first.`);
    const device = this.#kernel.openDevice(member, this);
    this.#devices.set(device, (this.#devices.get(device) ?? 0) + 1);
    return device;
  }

  /** A device of the group was closed once. For `VfioDevice`. */
  closed(device: VfioDevice): void {
    const count = (this.#devices.get(device) ?? 0) - 1;
    if (count > 0) this.#devices.set(device, count);
    else this.#devices.delete(device);
    if (!this.#open && this.#devices.size === 0) this.#leave();
  }

  /** Closes the file. Devices that are open keep group and container until they are closed too. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#devices.size === 0) this.#leave();
  }

  #leave(): void {
    if (this.#container) {
      this.#container.detach(this);
      this.#container = undefined;
      this.#kernel.ownership.release(this.id);
    }
    if (!this.#open) this.#kernel.groupClosed(this);
  }

  #requireOpen(): void {
    if (!this.#open) throw new TypeError(`The file of group ${this.id} is closed.`);
  }
}
