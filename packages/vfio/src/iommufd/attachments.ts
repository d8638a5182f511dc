import { VfioError } from "../vfio-error.ts";
import type { VfioKernel } from "../vfio-kernel.ts";
import type { DeviceObject, HwptObject, IoasObject } from "./objects.ts";

/** The address space at the bottom of a page table. */
const spaceOf = ({ on }: HwptObject): IoasObject => (on.type === "ioas" ? on : spaceOf(on));

/** Which devices are attached to which page tables: all of a group's to one. Linux drivers/iommu/iommufd/device.c. */
export class Attachments {
  readonly #kernel: VfioKernel;

  constructor(kernel: VfioKernel) {
    this.#kernel = kernel;
  }

  /**
   * Attaches a device, or moves it. @param devices all that are bound
   * @throws VfioError EINVAL when another device of the group stays on another page table; EADDRINUSE; what the driver says
   */
  attach(device: DeviceObject, to: HwptObject, devices: readonly DeviceObject[]): void {
    const old = device.hwpt;
    if (old === to) return;
    const others = devices.filter((each) => each !== device && each.group === device.group && each.hwpt);
    if (others.some((each) => each.hwpt !== to)) throw new VfioError("EINVAL", `Other devices of group ${device.group} are attached to another page table.`);
    const space = spaceOf(to).space;
    const keeps = old && spaceOf(old).space === space;
    if (!keeps) space.reserve(device, this.#kernel.ownership.reserved(device.group));
    try {
      this.#kernel.ownership.attach(device.group, to.domain);
    } catch (error) {
      if (!keeps) space.unreserve(device);
      // A replacement that fails leaves the device where it was.
      if (old) this.#kernel.ownership.attach(device.group, old.domain);
      throw error;
    }
    if (old && !keeps) spaceOf(old).space.unreserve(device);
    if (old) old.users--;
    to.users++;
    device.hwpt = to;
  }

  /** Takes a device off; with the group's last one its functions are blocked. */
  detach(device: DeviceObject, devices: readonly DeviceObject[]): void {
    const { hwpt } = device;
    if (!hwpt) return;
    device.hwpt = undefined;
    hwpt.users--;
    spaceOf(hwpt).space.unreserve(device);
    if (!devices.some((each) => each.group === device.group && each.hwpt)) this.#kernel.ownership.detach(device.group);
  }
}
