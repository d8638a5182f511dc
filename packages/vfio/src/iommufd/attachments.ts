import { VfioError } from "../vfio-error.ts";
import type { VfioKernel } from "../vfio-kernel.ts";
import type { DeviceObject, HwptObject, IoasObject } from "./objects.ts";

/** The address space at the bottom of a page table. */
const spaceOf = ({ on }: HwptObject): IoasObject => (on.type === "ioas" ? on : spaceOf(on));

/** Which devices are attached to which page tables: all of a group's to one. Linux drivers/iommu/iommufd/device.c. */
export class Attachments {
  readonly #kernel: VfioKernel;
  /** All that are bound. */
  readonly #devices: () => readonly DeviceObject[];

  constructor(kernel: VfioKernel, devices: () => readonly DeviceObject[]) {
    this.#kernel = kernel;
    this.#devices = devices;
  }

  /** Attaches a device, or moves one that is attached. */
  attach(device: DeviceObject, to: HwptObject): void {
    if (device.hwpt) this.#replace(device.group, device.hwpt, to);
    else this.#attach(device, to);
  }

  /** Takes a device off; with the group's last one its functions are blocked. */
  detach(device: DeviceObject): void {
    const { hwpt } = device;
    if (!hwpt) return;
    device.hwpt = undefined;
    hwpt.users--;
    spaceOf(hwpt).space.unreserve(device);
    if (this.#attached(device.group).length === 0) this.#kernel.ownership.detach(device.group);
  }

  /** @throws VfioError in the order of Linux iommufd_hw_pagetable_attach: EINVAL when the group is attached elsewhere; EADDRINUSE; what the driver says */
  #attach(device: DeviceObject, to: HwptObject): void {
    const { ownership } = this.#kernel;
    const siblings = this.#attached(device.group);
    if (siblings.some((each) => each.hwpt !== to)) throw new VfioError("EINVAL", `Other devices of group ${device.group} are attached to another page table.`);
    const { space } = spaceOf(to);
    space.reserve(device, ownership.reservedFor(device.address));
    try {
      if (siblings.length === 0) ownership.attach(device.group, to.domain);
    } catch (error) {
      space.unreserve(device);
      throw error;
    }
    to.users++;
    device.hwpt = to;
  }

  /** Moves all of a group. @throws VfioError in the order of Linux iommufd_device_do_replace: EADDRINUSE for any of them; what the driver says. They stay where they are then */
  #replace(group: number, old: HwptObject, to: HwptObject): void {
    if (old === to) return;
    const devices = this.#attached(group);
    const [{ space: from }, { space: into }] = [spaceOf(old), spaceOf(to)];
    const reserved: DeviceObject[] = [];
    try {
      if (from !== into)
        for (const device of devices) {
          into.reserve(device, this.#kernel.ownership.reservedFor(device.address));
          reserved.push(device);
        }
      this.#swap(group, old, to);
    } catch (error) {
      for (const device of reserved) into.unreserve(device);
      throw error;
    }
    for (const device of devices) {
      if (from !== into) from.unreserve(device);
      old.users--;
      to.users++;
      device.hwpt = to;
    }
  }

  #swap(group: number, old: HwptObject, to: HwptObject): void {
    try {
      this.#kernel.ownership.attach(group, to.domain);
    } catch (error) {
      this.#kernel.ownership.attach(group, old.domain);
      throw error;
    }
  }

  #attached(group: number): readonly DeviceObject[] {
    return this.#devices().filter((each) => each.group === group && each.hwpt);
  }
}
