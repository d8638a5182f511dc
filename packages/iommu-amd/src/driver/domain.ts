import { hex, PAGE_SIZE, type Hpa } from "@iommu-lab/memory";
import { Access, IommuDriverError, type DomainKind, type IommuDomain, type RequesterId } from "@iommu-lab/pci-bus";
import { coveringShift, misaligned, pageCount, pageNumber, pastWidth, type PageTable } from "@iommu-lab/pci-bus/paging";
import { EVERY_PAGE } from "./command-queue.ts";
import type { Translation } from "./device-table.ts";
import type { AmdUnitDriver } from "./unit-driver.ts";

/** A function, or one PASID of it, that a domain translates for. */
interface Member {
  readonly unit: AmdUnitDriver;
  readonly requester: RequesterId;
  readonly pasid: number | undefined;
}

/** How a domain translates. */
export interface DomainPlan {
  readonly kind: DomainKind["kind"];
  readonly table?: PageTable;
  /** Its tables are guest (v2) tables. */
  readonly guest: boolean;
  /** log2 of the page sizes it maps. */
  readonly pageShifts: readonly number[];
  readonly parent?: AmdDomain;
  readonly guestTable?: number;
  readonly guestLevels?: number;
  readonly physicalAddressWidth: number;
}

const READ_WRITE = Access.Read | Access.Write;

/** An address space of the AMD driver; which entries of tables and caches it is behind. */
export class AmdDomain implements IommuDomain {
  readonly id: number;
  readonly kind: DomainKind["kind"];
  readonly pageSizes: readonly number[];
  readonly plan: DomainPlan;
  /** Tag of its host translations. */
  readonly domainId: number;
  /** Nested domains on this one. */
  readonly children = new Set<AmdDomain>();
  readonly #members: Member[] = [];
  /** Mapping needs an invalidation on some IOMMU. */
  #mappingsAreCached = false;
  readonly #table: PageTable | undefined;
  readonly #frameLimit: number;

  constructor(id: number, domainId: number, plan: DomainPlan) {
    this.id = id;
    this.domainId = domainId;
    this.kind = plan.kind;
    this.plan = plan;
    this.#table = plan.kind === "paging" ? plan.table : undefined;
    this.#frameLimit = 2 ** (plan.physicalAddressWidth - 12);
    this.pageSizes = plan.kind === "paging" ? plan.pageShifts.map((shift) => 2 ** shift) : [];
    plan.parent?.children.add(this);
    if (plan.table !== undefined) plan.table.flush = () => { this.flush(); };
  }

  map(iova: number | bigint, hpa: Hpa, size: number, permissions: Access): void {
    const table = this.#table;
    if (table === undefined) throw this.#withoutMappings();
    const page = pageNumber(iova);
    const count = pageCount(size);
    const frame = hpa / PAGE_SIZE;
    if (!(frame >= 0) || Math.floor(frame) !== frame) throw misaligned("HPA", hpa);
    if (frame + count > this.#frameLimit) throw new IommuDriverError("ERANGE", `HPA ${hex(hpa)} and ${hex(size)} bytes from it are past the physical address width of ${this.plan.physicalAddressWidth} bits.`);
    if (page + count > table.limit) throw pastWidth(page, count, table);
    if (permissions !== READ_WRITE && permissions !== Access.Read) this.#checkPermissions(permissions);
    table.map(page, frame, count, permissions);
    // NpCache: what is not present may be known as such.
    if (this.#mappingsAreCached || (this.children.size > 0 && [...this.children].some((child) => child.#mappingsAreCached))) this.#forget(page, page + count, true, false);
  }

  unmap(iova: number | bigint, size: number): number {
    const table = this.#table;
    if (table === undefined) throw this.#withoutMappings();
    const page = pageNumber(iova);
    const count = pageCount(size);
    if (page + count > table.limit) throw pastWidth(page, count, table);
    return table.unmap(page, count) * PAGE_SIZE;
  }

  flush(): void {
    if (this.kind === "nested") {
      this.#forgetEverything();
      return;
    }
    const { table } = this.plan;
    if (table === undefined || table.staleEnd === 0) return;
    this.#forget(table.staleFirst, table.staleEnd, table.unlinked, true);
    for (const child of this.children) child.flush();
    table.flushed();
  }

  lookup(iova: number | bigint): Hpa | undefined {
    const { table } = this.plan;
    if (this.kind === "blocked" || this.kind === "nested") return undefined;
    const offset = Number(BigInt(iova) & 0xfffn);
    const page = Number(BigInt(iova) >> 12n);
    if (table === undefined) return page < this.#frameLimit ? page * PAGE_SIZE + offset : undefined;
    if (page >= table.limit || page < 0) return undefined;
    const frame = table.lookup(page);
    return frame < 0 ? undefined : frame * PAGE_SIZE + offset;
  }

  get isAttached(): boolean {
    return this.#members.length > 0;
  }

  /** Device table entries of its functions name a host table. */
  get usesHostTables(): boolean {
    return this.kind === "nested" || (this.plan.table !== undefined && !this.plan.guest);
  }

  get usesGuestTables(): boolean {
    return this.kind === "nested" || (this.plan.table !== undefined && this.plan.guest);
  }

  /** Page number that a GCR3 table names; of a GPA when nested. */
  get guestRoot(): number | undefined {
    return this.kind === "nested" ? this.plan.guestTable : this.plan.guest ? this.plan.table?.root : undefined;
  }

  get guestLevels(): number {
    return this.plan.guestLevels ?? 4;
  }

  /** Host part of device table entries. AMD-Vi §2.2.2.1. */
  get hostTranslation(): Translation {
    const rights = { IR: 1, IW: 1 };
    switch (this.kind) {
      case "blocked":
        return {};
      case "identity":
        return { ...rights, DomainID: this.domainId };
      case "nested":
        return { ...(this.plan.parent?.hostTranslation ?? {}), ...rights };
      case "paging": {
        const { table, guest } = this.plan;
        return table === undefined || guest ? { ...rights, DomainID: this.domainId } : { ...rights, Mode: table.levels, HostRoot: table.root, DomainID: this.domainId };
      }
    }
  }

  add(member: Member): void {
    this.#members.push(member);
    this.#refresh();
  }

  remove({ unit, requester, pasid }: Member): void {
    const at = this.#members.findIndex((member) => member.unit === unit && member.requester === requester && member.pasid === pasid);
    if (at >= 0) this.#members.splice(at, 1);
    this.#refresh();
  }

  /** A function has left: nothing of this domain may be cached when the last one goes. */
  forgetAfterDetach(unit: AmdUnitDriver): void {
    if (this.usesHostTables && this.kind !== "nested") {
      unit.commands.pages(this.domainId, undefined, EVERY_PAGE, 0, true);
      unit.commands.finish();
    }
  }

  /** Frees the tables. */
  destroy(): void {
    this.plan.parent?.children.delete(this);
    this.plan.table?.free();
  }

  #refresh(): void {
    this.#mappingsAreCached = this.#members.some(({ unit }) => unit.npCache);
  }

  #withoutMappings(): IommuDriverError {
    return new IommuDriverError("EOPNOTSUPP", `A domain of kind "${this.kind}" has no mappings of its own.`);
  }

  #checkPermissions(permissions: Access): void {
    if (permissions !== Access.Write) throw new IommuDriverError("EINVAL", `Permissions ${permissions} cannot be mapped; they are Read (1), Write (2) or both.`);
    if (this.plan.guest) throw new IommuDriverError("EOPNOTSUPP", "Guest tables cannot express pages that may be written but not read.");
  }

  /** The IOMMU before device-TLBs, which ask it again. AMD-Vi §2.4.4. */
  #forget(first: number, end: number, tables: boolean, devices: boolean): void {
    const shift = coveringShift(first, end);
    const order = shift - 12;
    const page = order >= 51 ? EVERY_PAGE : Math.floor(first / 2 ** order) * 2 ** order;
    const all = page === EVERY_PAGE;
    for (const { unit, requester, pasid } of this.#members) unit.sources.forget(requester, pasid, this, page, all ? 0 : order, tables);
    if (devices) for (const { unit, requester, pasid } of this.#members) unit.sources.forgetDeviceTlb(requester, pasid, page, all ? 0 : order);
    for (const child of this.children) child.#forgetEverything();
    this.#finish();
  }

  #forgetEverything(): void {
    for (const { unit, requester, pasid } of this.#members) {
      unit.sources.forget(requester, pasid, this, EVERY_PAGE, 0, true);
      unit.sources.forgetDeviceTlb(requester, pasid, EVERY_PAGE, 0);
    }
    this.#finish();
  }

  /** Where nothing was given since, there is nothing to wait for. */
  #finish(): void {
    for (const { unit } of this.#members) unit.commands.finish();
  }
}
