import { formatAddress, type DomainKind, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { Gpa, Hpa } from "@iommu-lab/memory";
import type { UserProcess } from "../process/user-process.ts";
import { asVfioError, VfioError } from "../vfio-error.ts";
import type { VfioKernel } from "../vfio-kernel.ts";
import { Attachments } from "./attachments.ts";
import { IoAddressSpace, type AccessUnmap, type IoasMapRequest, type IovaRange } from "./io-address-space.ts";
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
    this.#attachments = new Attachments(kernel);
  }

  /** How many objects there are. */
  get size(): number {
    return this.#objects.size;
  }

  /** IOMMU_IOAS_ALLOC. @returns its number */
  allocateIoas(): number {
    return this.#put((id) => ({ type: "ioas", id, users: 0, space: new IoAddressSpace(this.#kernel.addressWidth) }));
  }

  /** IOMMU_IOAS_MAP; see `IoAddressSpace.map`. @returns the IOVA. @throws VfioError also ENOENT for no such space */
  map(ioas: number, request: IoasMapRequest): bigint {
    return this.#get(ioas, "ioas").space.map(request, this.#process);
  }

  /** IOMMU_IOAS_COPY. @throws VfioError also ENOENT for no such space */
  copy(destination: number, source: number, range: { readonly iova: number | bigint; readonly length: number | bigint }, to: { readonly iova?: number | bigint; readonly readable: boolean; readonly writable: boolean }): bigint {
    const from = this.#get(source, "ioas").space;
    return this.#get(destination, "ioas").space.copyFrom(from, range.iova, range.length, to);
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

  /** IOMMU_HWPT_ALLOC. @returns its number. @throws VfioError ENOENT for objects that are not there, EINVAL for a parent that is none, and what the driver says */
  allocateHwpt(request: HwptRequest): number {
    this.#get(request.device, "device");
    if (request.kind === "paging") {
      const on = this.#get(request.ioas, "ioas");
      return this.#makeHwpt({ kind: "paging", addressWidth: this.#kernel.addressWidth, nestingParent: request.nestParent === true }, on, false).id;
    }
    const parent = this.#get(request.parent, "hwpt");
    if (!parent.nestParent) throw new VfioError("EINVAL", `Page table ${parent.id} was not made to nest others on it.`);
    return this.#makeHwpt({ kind: "nested", parent: parent.domain, table: request.table, levels: request.levels }, parent, false).id;
  }

  /**
   * VFIO_DEVICE_BIND_IOMMUFD: the function's group is this user's from now on.
   * @returns its number. @throws VfioError ENODEV for a function that is not bound to VFIO, EINVAL when it is bound here,
   *   EPERM when its group is not viable, another's, or interrupts cannot be isolated
   */
  bind(address: FunctionAddress): number {
    const group = this.#kernel.ownership.groupOf(address);
    if (!group || !this.#kernel.drivers.driverOf(address)?.vfio) throw new VfioError("ENODEV", `${formatAddress(address)} is not bound to a VFIO driver, or has no IOMMU.`);
    if (this.#devices().some((each) => formatAddress(each.address) === formatAddress(address))) throw new VfioError("EINVAL", `${formatAddress(address)} is bound already.`);
    this.#kernel.ownership.claim(group.id, this);
    if (!this.#kernel.interruptsIsolated) {
      this.#releaseGroup(group.id);
      throw new VfioError("EPERM", "MSI interrupts are not secure: the platform cannot isolate them.");
    }
    return this.#put((id) => ({ type: "device", id, users: 0, address, group: group.id, hwpt: undefined }));
  }

  /**
   * VFIO_DEVICE_ATTACH_IOMMUFD_PT: to a page table, or to an address space, for which one is found or made. What is
   * attached is replaced.
   * @throws VfioError ENOENT for objects that are not there, EINVAL for a number of something else or when other devices of
   *   the group are attached elsewhere, EADDRINUSE when the device reserves what is mapped, and what the driver says
   */
  attach(device: number, to: number): void {
    const object = this.#get(device, "device");
    const target = this.#objects.get(to);
    if (!target) throw new VfioError("ENOENT", `There is no object ${to}.`);
    if (target.type !== "ioas" && target.type !== "hwpt") throw new VfioError("EINVAL", `Object ${to} is a ${target.type}; devices are attached to page tables and address spaces.`);
    const found = target.type === "hwpt" ? target : (this.#automatic(target) ?? this.#makeHwpt({ kind: "paging", addressWidth: this.#kernel.addressWidth }, target, true));
    try {
      this.#attachments.attach(object, found, this.#devices());
    } catch (error) {
      this.#dropUnused(found);
      throw error;
    }
    for (const each of this.#hwpts()) this.#dropUnused(each);
  }

  /** VFIO_DEVICE_DETACH_IOMMUFD_PT: the function is blocked. Nothing happens where nothing is attached. */
  detach(device: number): void {
    const object = this.#get(device, "device");
    const { hwpt } = object;
    this.#attachments.detach(object, this.#devices());
    if (hwpt) this.#dropUnused(hwpt);
  }

  /** IOMMU_DESTROY. @throws VfioError ENOENT for no such object, EBUSY while others use it */
  destroy(id: number): void {
    const object = this.#objects.get(id);
    if (!object) throw new VfioError("ENOENT", `There is no object ${id}.`);
    if (object.users > 0 || (object.type === "device" && object.hwpt)) throw new VfioError("EBUSY", `Object ${id} (${object.type}) is used by others.`);
    this.#objects.delete(id);
    if (object.type === "ioas") object.space.unmap(0, 2n ** 64n - 1n);
    else if (object.type === "hwpt") this.#destroyHwpt(object);
    else if (object.type === "device") this.#releaseGroup(object.group);
    else {
      object.stop();
      object.ioas.users--;
    }
  }

  /** Software's own way into a space, as mediated devices have it. @param unmapped told to let pages go. @returns its number */
  createAccess(ioas: number, unmapped: AccessUnmap): number {
    const space = this.#get(ioas, "ioas");
    space.users++;
    return this.#put((id) => ({ type: "access", id, users: 0, ioas: space, stop: space.space.onUnmap(unmapped) }));
  }

  /** Holds pages for an access. @returns the host page of each. @throws VfioError ENOENT, EPERM */
  holdPages(access: number, iova: number | bigint, length: number, write: boolean): readonly Hpa[] {
    return this.#get(access, "access").ioas.space.hold(BigInt(iova), length, write);
  }

  /** Lets them go. */
  letPagesGo(access: number, iova: number | bigint, length: number): void {
    this.#get(access, "access").ioas.space.letGo(BigInt(iova), length);
  }

  /** Closes the file: everything goes, devices first. */
  close(): void {
    for (const device of this.#devices()) {
      this.detach(device.id);
      this.destroy(device.id);
    }
    for (const type of ["access", "hwpt", "ioas"] as const)
      for (const { id } of [...this.#objects.values()].filter((each) => each.type === type).sort((a, b) => b.id - a.id)) this.destroy(id);
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

  #automatic(ioas: IoasObject): HwptObject | undefined {
    return this.#hwpts().find((each) => each.automatic && each.on === ioas);
  }

  #makeHwpt(kind: DomainKind, on: IoasObject | HwptObject, automatic: boolean): HwptObject {
    const domain = asVfioError(() => this.#kernel.iommu.createDomain(kind));
    try {
      if (on.type === "ioas") on.space.addDomain(domain);
    } catch (error) {
      this.#kernel.iommu.destroyDomain(domain);
      throw error;
    }
    on.users++;
    const hwpt: HwptObject = { type: "hwpt", id: this.#next++, users: 0, domain, on, nestParent: kind.kind === "paging" && kind.nestingParent === true, automatic };
    this.#objects.set(hwpt.id, hwpt);
    return hwpt;
  }

  #dropUnused(hwpt: HwptObject): void {
    if (!hwpt.automatic || hwpt.users > 0 || !this.#objects.delete(hwpt.id)) return;
    this.#destroyHwpt(hwpt);
  }

  #destroyHwpt({ domain, on }: HwptObject): void {
    if (on.type === "ioas") on.space.removeDomain(domain);
    this.#kernel.iommu.destroyDomain(domain);
    on.users--;
  }

  #releaseGroup(group: number): void {
    if (!this.#devices().some((each) => each.group === group)) this.#kernel.ownership.release(group);
  }
}

