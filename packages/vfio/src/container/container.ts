import type { Group } from "../groups/group.ts";
import type { UserProcess } from "../process/user-process.ts";
import { asVfioError, VfioError } from "../vfio-error.ts";
import type { VfioKernel } from "../vfio-kernel.ts";
import { Type1Iommu } from "./type1.ts";
import type { DmaMapRequest, DmaUnmapRequest, DmaUnmapResult, Type1Info } from "./type1-flags.ts";

/** Numbers of VFIO_CHECK_EXTENSION and VFIO_SET_IOMMU. */
export const VfioExtension = { Type1: 1, Type1V2: 3, DmaCacheCoherency: 4, Type1Nesting: 6, NoIommu: 8, UnmapAll: 9, UpdateVaddr: 10 } as const;

/** An open /dev/vfio/vfio: groups that share one address space. Linux drivers/vfio/container.c. */
export class Container {
  readonly #kernel: VfioKernel;
  readonly #process: UserProcess;
  readonly #groups = new Set<Group>();
  #iommu: Type1Iommu | undefined;
  #open = true;

  /** Use `VfioKernel.openContainer`. */
  constructor(kernel: VfioKernel, process: UserProcess) {
    this.#kernel = kernel;
    this.#process = process;
  }

  /** Undefined until `setIommu`, and again once the last group has left. */
  get iommu(): Type1Iommu | undefined {
    return this.#iommu;
  }

  /** VFIO_GET_API_VERSION: 0. */
  getApiVersion(): number {
    return 0;
  }

  /**
   * VFIO_CHECK_EXTENSION: whether the number is known here. Coherency and new virtual addresses are told only once the
   * container has its IOMMU. Linux vfio_iommu_type1_check_extension; nesting went with Linux 6.13.
   */
  checkExtension(extension: number): boolean {
    const known: readonly number[] = [VfioExtension.Type1, VfioExtension.Type1V2, VfioExtension.UnmapAll];
    if (known.includes(extension)) return true;
    return extension === VfioExtension.DmaCacheCoherency ? this.#iommu !== undefined : extension === VfioExtension.UpdateVaddr && this.#iommu?.pins.watched === false;
  }

  /**
   * VFIO_SET_IOMMU.
   * @throws VfioError in the order of Linux vfio_ioctl_set_iommu and vfio_iommu_type1_attach_group: EINVAL without a group or when
   *   it is set already; ENODEV for a type that is not there; what attaching a group says; EINVAL when all IOVAs are reserved;
   *   EPERM when interrupts cannot be isolated
   */
  setIommu(type: number): void {
    if (this.#groups.size === 0) throw new VfioError("EINVAL", "A container without groups takes no IOMMU: add a group first.");
    if (this.#iommu) throw new VfioError("EINVAL", "The container has an IOMMU already.");
    if (type !== VfioExtension.Type1 && type !== VfioExtension.Type1V2) throw new VfioError("ENODEV", `There is no IOMMU of type ${type}; type 1 is 1, its version 2 is 3.`);
    const domain = asVfioError(() => this.#kernel.iommu.createDomain({ kind: "paging", addressWidth: this.#kernel.addressWidth }));
    const iommu = new Type1Iommu({ version: type === VfioExtension.Type1V2 ? 2 : 1, domain, addressWidth: this.#kernel.addressWidth, entryLimit: this.#kernel.dmaEntryLimit });
    const done: Group[] = [];
    try {
      for (const group of this.#groups) {
        this.#join(iommu, group);
        done.push(group);
      }
    } catch (error) {
      for (const group of done) this.#kernel.ownership.detach(group.id);
      this.#kernel.iommu.destroyDomain(domain);
      throw error;
    }
    this.#iommu = iommu;
  }

  /** VFIO_IOMMU_GET_INFO. @throws VfioError EINVAL before `setIommu` */
  info(): Type1Info {
    return this.#requireIommu().info();
  }

  /** VFIO_IOMMU_MAP_DMA. @throws VfioError EINVAL before `setIommu`, and see `Type1Iommu.map` */
  mapDma(request: DmaMapRequest): void {
    this.#requireIommu().map(request, this.#process);
  }

  /** VFIO_IOMMU_UNMAP_DMA. @throws VfioError EINVAL before `setIommu`, and see `Type1Iommu.unmap` */
  unmapDma(request: DmaUnmapRequest): DmaUnmapResult {
    return this.#requireIommu().unmap(request);
  }

  /** VFIO_IOMMU_DIRTY_PAGES with START or STOP. @throws VfioError EINVAL before `setIommu`, and see `Type1Iommu.trackDirty` */
  trackDirty(flags: number): void {
    this.#requireIommu().trackDirty(flags);
  }

  /** VFIO_IOMMU_DIRTY_PAGES with GET_BITMAP. @throws VfioError EINVAL before `setIommu`, and see `Type1Iommu.dirtyPages` */
  dirtyPages(iova: number | bigint, size: number | bigint, pageSize: number): Uint8Array {
    return this.#requireIommu().dirtyPages(iova, size, pageSize);
  }

  /** A group joins. For `Group`. */
  attach(group: Group): void {
    if (!this.#open) throw new TypeError("The container's file is closed.");
    if (this.#iommu) this.#join(this.#iommu, group);
    this.#groups.add(group);
  }

  /** A group leaves; with the last one go all mappings. For `Group`. */
  detach(group: Group): void {
    this.#groups.delete(group);
    this.#kernel.ownership.detach(group.id);
    if (this.#groups.size === 0 && this.#iommu) {
      this.#iommu.unmapAll();
      this.#kernel.iommu.destroyDomain(this.#iommu.domain);
      this.#iommu = undefined;
    } else this.#iommu?.reserve(this.#reserved([]));
  }

  /** Closes the file; groups stay in the container until they are closed. */
  close(): void {
    this.#open = false;
  }

  /** The checks of Linux vfio_iommu_type1_attach_group: the interrupts come last. */
  #join(iommu: Type1Iommu, group: Group): void {
    iommu.refuseJoining();
    this.#kernel.ownership.attach(group.id, iommu.domain);
    try {
      iommu.reserve(this.#reserved([group]));
      if (!this.#kernel.interruptsIsolated) throw new VfioError("EPERM", "The platform cannot isolate interrupts (no interrupt remapping), and unsafe interrupts are not allowed.");
    } catch (error) {
      this.#kernel.ownership.detach(group.id);
      throw error;
    }
  }

  #reserved(joining: readonly Group[]): ReturnType<VfioKernel["ownership"]["reserved"]> {
    return [...this.#groups, ...joining].flatMap(({ id }) => this.#kernel.ownership.reserved(id));
  }

  #requireIommu(): Type1Iommu {
    if (!this.#iommu) throw new VfioError("EINVAL", "The container has no IOMMU yet: VFIO_SET_IOMMU comes first.");
    return this.#iommu;
  }
}
