import type { FunctionAddress } from "@iommu-lab/pci-bus";
import type { DeviceOwner, VfioDevice } from "../device/vfio-device.ts";
import { VfioError } from "../vfio-error.ts";
import type { VfioKernel } from "../vfio-kernel.ts";
import type { Iommufd } from "./iommufd.ts";

interface Binding {
  readonly iommufd: Iommufd;
  readonly id: number;
  readonly device: VfioDevice;
}

/** An open /dev/vfio/devices/vfioN: a device without its group's file. Linux drivers/vfio/device_cdev.c. */
export class DeviceFile implements DeviceOwner {
  readonly address: FunctionAddress;
  readonly #kernel: VfioKernel;
  #bound: Binding | undefined;

  /** Use `VfioKernel.openDeviceFile`. */
  constructor(kernel: VfioKernel, address: FunctionAddress) {
    this.#kernel = kernel;
    this.address = address;
  }

  /** The device. @throws VfioError EINVAL before `bind` */
  get device(): VfioDevice {
    return this.#requireBound().device;
  }

  /**
   * VFIO_DEVICE_BIND_IOMMUFD.
   * @returns the device's number there. @throws VfioError in the order of Linux vfio_df_ioctl_bind_iommufd: EBUSY when the
   *   group's file is open; EINVAL when bound already, by this file or another; and as `Iommufd.bind`
   */
  bind(iommufd: Iommufd): number {
    const group = this.#kernel.ownership.groupOf(this.address);
    if (group && this.#kernel.isOpen(group.id)) throw new VfioError("EBUSY", `/dev/vfio/${group.id} is open: a group is used by its file or by its devices', not both.`);
    if (this.#bound) throw new VfioError("EINVAL", "The device is bound already.");
    if (this.#kernel.isDeviceOpen(this.address)) throw new VfioError("EINVAL", "The device is bound through another of its files; only a group's file gives a device more than once.");
    const id = iommufd.bind(this.address);
    this.#bound = { iommufd, id, device: this.#kernel.openDevice(this.address, this) };
    return id;
  }

  /** VFIO_DEVICE_ATTACH_IOMMUFD_PT. @throws VfioError EINVAL before `bind`, and as `Iommufd.attach` */
  attach(to: number): void {
    const { iommufd, id } = this.#requireBound();
    iommufd.attach(id, to);
  }

  /** VFIO_DEVICE_DETACH_IOMMUFD_PT. @throws VfioError EINVAL before `bind` */
  detach(): void {
    const { iommufd, id } = this.#requireBound();
    iommufd.detach(id);
  }

  /** Closes the file: the device is reset, detached and unbound. */
  close(): void {
    this.#bound?.device.close();
  }

  closed(): void {
    if (!this.#bound) return;
    const { iommufd, id } = this.#bound;
    this.#bound = undefined;
    iommufd.unbind(id);
  }

  /** For `VfioDevice.hotReset`. */
  ownsGroup(group: number): boolean {
    return this.#kernel.ownership.ownerOf(group) === this.#bound?.iommufd;
  }

  #requireBound(): Binding {
    if (!this.#bound) throw new VfioError("EINVAL", "The device is not bound to an iommufd: VFIO_DEVICE_BIND_IOMMUFD comes first.");
    return this.#bound;
  }
}
