import { formatAddress, type DomainKind, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { Gpa, Hpa } from "@iommu-lab/memory";
import type { UserProcess } from "../process/user-process.ts";
import { asVfioError, VfioError } from "../vfio-error.ts";
import type { VfioKernel } from "../vfio-kernel.ts";
import { Attachments } from "./attachments.ts";
import { IoAddressSpace, type AccessUnmap } from "./io-address-space.ts";
import type { IovaRange } from "./iova-range.ts";
import { checkPlace, type IoasMapRequest, type IoasPlace, type IoasSource } from "./map-request.ts";
import type { DeviceObject, HwptObject, IoasObject, IommufdObject } from "./objects.ts";

/** IOMMU_HWPT_ALLOC. */
export type HwptRequest =
  /** Shows an address space; `nestParent`: nested ones can be made on it. */
  | { readonly kind: "paging"; readonly device: number; readonly ioas: number; readonly nestParent?: boolean }
  /** A guest's own tables on a nesting parent. */
  | { readonly kind: "nested"; readonly device: number; readonly parent: number; readonly table: Gpa; readonly levels: 4 | 5 };

/**
 * An open /dev/iommu: address spaces, page tables and devices as objects with numbers. Linux drivers/iommu/iommufd,
 * Documentation/userspace-api/iommufd.rst.
 */
export class Iommufd {
  readonly #kernel: VfioKernel;
  readonly #process: UserProcess;
  readonly #objects = new Map<number, IommufdObject>();
  readonly #attachments: Attachments;
  #next = 1;

  /** Use `VfioKernel.openIommufd`. */
  constructor(kernel: VfioKernel, process: UserProcess) {
    this.#kernel = kernel;
    this.#process = process;
    this.#attachments = new Attachments(kernel, () => this.#devices());
  }

  /** How many objects there are. */
  get size(): number {
    return this.#objects.size;
  }

  /** IOMMU_IOAS_ALLOC. @returns its number */
  allocateIoas(): number {
    return this.#put((id) => ({ type: "ioas", id, users: 0, space: new IoAddressSpace(this.#kernel.addressWidth) }));
  }

  /**
   * IOMMU_IOAS_MAP.
   * @returns the IOVA. @throws VfioError EOVERFLOW for numbers of all ones, EINVAL without rights, ENOENT for no such space,
   *   and as `IoAddressSpace.map`
   */
  map(ioas: number, request: IoasMapRequest): bigint {
    checkPlace(request, [request.length]);
    return this.#get(ioas, "ioas").space.map(request, this.#process);
  }

  /**
   * IOMMU_IOAS_COPY.
   * @returns the IOVA. @throws VfioError EOVERFLOW for numbers of all ones, EINVAL without rights, ENOENT for no such source
   *   space, as `IoAddressSpace.memoryAt`, ENOENT for no such destination space, and as `IoAddressSpace.copy`
   */
  copy(destination: number, source: number, range: IoasSource, to: IoasPlace): bigint {
    checkPlace(to, [range.length, range.iova]);
    const memory = this.#get(source, "ioas").space.memoryAt(range);
    return this.#get(destination, "ioas").space.copy(memory, to);
  }

  /** IOMMU_IOAS_UNMAP. @returns bytes. @throws VfioError also ENOENT for no such space */
  unmap(ioas: number, iova: number | bigint, length: number | bigint): number {
    return this.#get(ioas, "ioas").space.unmap(iova, length);
  }

  /** IOMMU_IOAS_IOVA_RANGES. */
  iovaRanges(ioas: number): readonly IovaRange[] {
    return this.#get(ioas, "ioas").space.iovaRanges();
  }

  /** IOMMU_IOAS_ALLOW_IOVAS. */
  allowIovas(ioas: number, ranges: readonly IovaRange[]): void {
    this.#get(ioas, "ioas").space.allow(ranges);
  }

  /** What is mapped in a space, in IOVA order. */
  areas(ioas: number): IoAddressSpace["areas"] {
    return this.#get(ioas, "ioas").space.areas;
  }

  /**
   * IOMMU_HWPT_ALLOC.
   * @returns its number. @throws VfioError in the order of Linux iommufd_hwpt_alloc: ENOENT for no such device; EINVAL for
   *   no object to build on; EOPNOTSUPP for a page table that shows a space on another page table, and for a guest's own on a
   *   space; EINVAL for objects of other types and for a parent that is none; what the driver says; as `IoAddressSpace.addDomain`
   */
  allocateHwpt(request: HwptRequest): number {
    this.#get(request.device, "device");
    const to = request.kind === "paging" ? request.ioas : request.parent;
    const on = this.#objects.get(to);
    if (on?.type !== "ioas" && on?.type !== "hwpt") throw new VfioError("EINVAL", `There is no address space or page table ${to} to build on.`);
    if ((on.type === "ioas") !== (request.kind === "paging")) throw new VfioError("EOPNOTSUPP", on.type === "ioas" ? "A guest's own tables are nested on a page table, not on an address space." : "Only a guest's own tables are nested on a page table.");
    if (on.type === "hwpt" && !on.nestParent) throw new VfioError("EINVAL", `Page table ${to} was not made to nest others on it.`);
    const hwpt = this.#makeHwpt(request.kind === "paging" ? this.#paging(request.nestParent === true) : { kind: "nested", parent: (on as HwptObject).domain, table: request.table, levels: request.levels }, on, false);
    try {
      if (on.type === "ioas") on.space.addDomain(hwpt.domain);
    } catch (error) {
      this.destroy(hwpt.id);
      throw error;
    }
    return hwpt.id;
  }

  /**
   * VFIO_DEVICE_BIND_IOMMUFD: the function's group is this user's from now on.
   * @returns its number. @throws VfioError ENODEV for a function that is not bound to VFIO, EINVAL when it is bound here;
   *   then in the order of Linux iommufd_device_bind: EPERM when interrupts cannot be isolated; EPERM when its group is not
   *   viable or another's; EINVAL when firmware wants 1:1 mappings of a member
   */
  bind(address: FunctionAddress): number {
    const group = this.#kernel.ownership.groupOf(address);
    if (!group || !this.#kernel.drivers.driverOf(address)?.vfio) throw new VfioError("ENODEV", `${formatAddress(address)} is not bound to a VFIO driver, or has no IOMMU.`);
    if (this.#devices().some((each) => formatAddress(each.address) === formatAddress(address))) throw new VfioError("EINVAL", `${formatAddress(address)} is bound already.`);
    if (!this.#kernel.interruptsIsolated) throw new VfioError("EPERM", "MSI interrupts are not secure: the platform cannot isolate them.");
    this.#kernel.ownership.claim(group.id, this);
    return this.#put((id) => ({ type: "device", id, users: 0, address, group: group.id, hwpt: undefined }));
  }

  /** The end of `bind`, when the device's file is closed: what is attached is detached. @throws VfioError ENOENT for no such device */
  unbind(device: number): void {
    const object = this.#get(device, "device");
    this.detach(device);
    this.#objects.delete(device);
    if (!this.#devices().some((each) => each.group === object.group)) this.#kernel.ownership.release(object.group);
  }

  /**
   * VFIO_DEVICE_ATTACH_IOMMUFD_PT: to a page table, or to an address space, for which one is found or made. What is
   * attached is moved, with all of its group.
   * @throws VfioError in the order of Linux iommufd_device_change_pt: ENOENT for objects that are not there; EINVAL for a
   *   number of something else; where nothing is attached yet, EINVAL when other devices of the group are attached elsewhere;
   *   EADDRINUSE when the device reserves what is mapped; what the driver says. A page table that is made is filled last, as
   *   `IoAddressSpace.addDomain`; one that replaces another first
   */
  attach(device: number, to: number): void {
    const object = this.#get(device, "device");
    const target = this.#objects.get(to);
    if (!target) throw new VfioError("ENOENT", `There is no object ${to}.`);
    if (target.type !== "ioas" && target.type !== "hwpt") throw new VfioError("EINVAL", `Object ${to} is a ${target.type}; devices are attached to page tables and address spaces.`);
    const old = object.hwpt;
    if (target.type === "hwpt") this.#attachments.attach(object, target);
    else if (!this.#attachToMade(object, target)) this.#attachToNew(object, target);
    if (old) this.#dropUnused(old);
  }

  /** VFIO_DEVICE_DETACH_IOMMUFD_PT: the function is blocked. Nothing happens where nothing is attached. */
  detach(device: number): void {
    const object = this.#get(device, "device");
    const { hwpt } = object;
    this.#attachments.detach(object);
    if (hwpt) this.#dropUnused(hwpt);
  }

  /** IOMMU_DESTROY. @throws VfioError ENOENT for no such object; EBUSY while others use it, as drivers do devices and accesses all the time */
  destroy(id: number): void {
    const object = this.#objects.get(id);
    if (!object) throw new VfioError("ENOENT", `There is no object ${id}.`);
    if (object.users > 0 || (object.type !== "ioas" && object.type !== "hwpt")) throw new VfioError("EBUSY", `Object ${id} (${object.type}) is in use.`);
    if (object.type === "ioas") object.space.unmapAll();
    else this.#destroyHwpt(object);
    this.#objects.delete(id);
  }

  /** Software's own way into a space, as mediated devices have it. @param unmapped told to let pages go. @returns its number */
  createAccess(ioas: number, unmapped: AccessUnmap): number {
    const space = this.#get(ioas, "ioas");
    space.users++;
    return this.#put((id) => ({ type: "access", id, users: 0, ioas: space, stop: space.space.onUnmap(unmapped) }));
  }

  /** The end of an access, whose driver has let its pages go. @throws VfioError ENOENT for no such access */
  destroyAccess(access: number): void {
    const { ioas, stop } = this.#get(access, "access");
    stop();
    ioas.users--;
    this.#objects.delete(access);
  }

  /** Holds pages for an access. @returns the host page of each. @throws VfioError as `IoAddressSpace.hold` */
  holdPages(access: number, iova: number | bigint, length: number, write: boolean): readonly Hpa[] {
    return this.#get(access, "access").ioas.space.hold(BigInt(iova), length, write);
  }

  /** Lets them go. */
  letPagesGo(access: number, iova: number | bigint, length: number): void {
    this.#get(access, "access").ioas.space.letGo(BigInt(iova), length);
  }

  /** Closes the file: everything goes, devices first. */
  close(): void {
    for (const { id } of this.#devices()) this.unbind(id);
    const left = (type: IommufdObject["type"]): number[] => [...this.#objects.values()].filter((each) => each.type === type).map(({ id }) => id).sort((a, b) => b - a);
    for (const id of left("access")) this.destroyAccess(id);
    // Nested page tables were made after their parents.
    for (const id of [...left("hwpt"), ...left("ioas")]) this.destroy(id);
  }

  #put(make: (id: number) => IommufdObject): number {
    const object = make(this.#next++);
    this.#objects.set(object.id, object);
    return object.id;
  }

  #get<T extends IommufdObject["type"]>(id: number, type: T): Extract<IommufdObject, { readonly type: T }> {
    const object = this.#objects.get(id);
    if (object?.type !== type) throw new VfioError("ENOENT", `There is no ${type} ${id}.`);
    return object as Extract<IommufdObject, { readonly type: T }>;
  }

  #devices(): DeviceObject[] {
    return [...this.#objects.values()].filter((each) => each.type === "device");
  }

  #hwpts(): HwptObject[] {
    return [...this.#objects.values()].filter((each) => each.type === "hwpt");
  }

  #paging(nestingParent: boolean): DomainKind {
    return { kind: "paging", addressWidth: this.#kernel.addressWidth, nestingParent };
  }

  /** Tries the page tables that were made for the space before. @returns false when there is none that the device can have */
  #attachToMade(device: DeviceObject, ioas: IoasObject): boolean {
    for (const hwpt of this.#hwpts().filter((each) => each.automatic && each.on === ioas))
      try {
        this.#attachments.attach(device, hwpt);
        return true;
      } catch (error) {
        // EINVAL: they do not fit together, so another may.
        if (!(error instanceof VfioError && error.code === "EINVAL")) throw error;
      }
    return false;
  }

  /** A device that does DMA must not lose what it reaches: a new page table is filled before it takes another's place, and else last. */
  #attachToNew(device: DeviceObject, ioas: IoasObject): void {
    const hwpt = this.#makeHwpt(this.#paging(false), ioas, true);
    const moves = device.hwpt !== undefined;
    try {
      if (moves) ioas.space.addDomain(hwpt.domain);
      this.#attachments.attach(device, hwpt);
      if (!moves) ioas.space.addDomain(hwpt.domain);
    } catch (error) {
      if (device.hwpt === hwpt) this.#attachments.detach(device);
      this.#dropUnused(hwpt);
      throw error;
    }
  }

  #makeHwpt(kind: DomainKind, on: IoasObject | HwptObject, automatic: boolean): HwptObject {
    const domain = asVfioError(() => this.#kernel.iommu.createDomain(kind));
    on.users++;
    const hwpt: HwptObject = { type: "hwpt", id: this.#next++, users: 0, domain, on, nestParent: kind.kind === "paging" && kind.nestingParent === true, automatic };
    this.#objects.set(hwpt.id, hwpt);
    return hwpt;
  }

  #dropUnused(hwpt: HwptObject): void {
    if (hwpt.automatic && hwpt.users === 0 && this.#objects.delete(hwpt.id)) this.#destroyHwpt(hwpt);
  }

  #destroyHwpt({ domain, on }: HwptObject): void {
    if (on.type === "ioas") on.space.removeDomain(domain);
    this.#kernel.iommu.destroyDomain(domain);
    on.users--;
  }
}
