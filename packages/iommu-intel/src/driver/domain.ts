import { hex, PAGE_SIZE, type Hpa } from "@iommu-lab/memory";
import { Access, IommuDriverError, type DomainKind, type IommuDomain, type RequesterId } from "@iommu-lab/pci-bus";
import { coveringShift, inBlocks, misaligned, pageCount, pageNumber, pastWidth, type PageTable } from "@iommu-lab/pci-bus/paging";
import type { VtdUnitDriver } from "./unit-driver.ts";
import { TranslationType, WHOLE_ADDRESS_SPACE, type SourceTranslation } from "./unit-sources.ts";

/** A requester, or one PASID of it, that a domain translates for. */
export interface Source {
  readonly requester: RequesterId;
  /** 0 for requests without. */
  readonly pasid: number;
}

/** A domain on one unit, where it has an identifier of its own. */
interface Presence {
  readonly unit: VtdUnitDriver;
  readonly translation: SourceTranslation;
  readonly sources: Source[];
}

/** How a domain translates. */
export interface DomainPlan {
  readonly kind: DomainKind["kind"];
  readonly type: SourceTranslation["type"];
  /** Its own tables; identity domains have some where hardware has no pass-through. */
  readonly table?: PageTable;
  /** log2 of the page sizes it maps. */
  readonly pageShifts: readonly number[];
  /** Nested: whose second stage the guest's table builds on. */
  readonly parent?: VtdDomain;
  readonly guestTable?: number;
  readonly guestLevels?: number;
  readonly hostAddressWidth: number;
}

const READ_WRITE = Access.Read | Access.Write;

/** P_IOTLB invalidations are bound by neither PSI nor MAMV. VT-d §11.4.2. */
const LARGEST_MASK = 51;

/** An address space of the VT-d driver; which entries of tables and caches it is behind. */
export class VtdDomain implements IommuDomain {
  readonly id: number;
  readonly kind: DomainKind["kind"];
  readonly pageSizes: readonly number[];
  readonly plan: DomainPlan;
  /** Nested domains on this one. */
  readonly children = new Set<VtdDomain>();
  readonly #presences: Presence[] = [];
  /** Mapping needs an invalidation or a write-buffer flush on some unit. */
  #mappingsAreCached = false;
  /** First page number past the host address width. */
  readonly #frameLimit: number;
  /** The tables of a paging domain. */
  readonly #table: PageTable | undefined;

  constructor(id: number, plan: DomainPlan) {
    this.id = id;
    this.kind = plan.kind;
    this.plan = plan;
    this.#table = plan.kind === "paging" ? plan.table : undefined;
    this.#frameLimit = 2 ** (plan.hostAddressWidth - 12);
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
    if (frame + count > this.#frameLimit) throw this.#pastMemory(hpa, size);
    if (page + count > table.limit) throw pastWidth(page, count, table);
    if (permissions !== READ_WRITE && permissions !== Access.Read) this.#checkPermissions(permissions);
    table.map(page, frame, count, permissions);
    if (this.#mappingsAreCached) this.#announce(page, page + count);
    if (this.children.size > 0) for (const child of this.children) child.announce();
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
    if (this.plan.type === TranslationType.Nested) {
      for (const presence of this.#presences) forgetAll(presence);
      return;
    }
    const { table } = this.plan;
    if (table === undefined || table.staleEnd === 0) return;
    for (const presence of this.#presences) this.#forget(presence, table.staleFirst, table.staleEnd, !table.unlinked, true);
    for (const child of this.children) child.flush();
    table.flushed();
  }

  lookup(iova: number | bigint): Hpa | undefined {
    const { table, type, kind } = this.plan;
    if (kind === "blocked" || kind === "nested") return undefined;
    const offset = Number(BigInt(iova) & 0xfffn);
    const page = Number(BigInt(iova) >> 12n);
    if (type === TranslationType.PassThrough || table === undefined) return page < 2 ** (this.plan.hostAddressWidth - 12) ? page * PAGE_SIZE + offset : undefined;
    if (page >= table.limit || page < 0) return undefined;
    const frame = table.lookup(page);
    return frame < 0 ? undefined : frame * PAGE_SIZE + offset;
  }

  get isAttached(): boolean {
    return this.#presences.length > 0;
  }

  /** What sources of a unit are bound to; makes the domain known there. */
  enter(unit: VtdUnitDriver): SourceTranslation {
    const known = this.#presences.find((presence) => presence.unit === unit);
    if (known !== undefined) return known.translation;
    const { type, table, parent, guestTable = 0, guestLevels = 4 } = this.plan;
    const own = table?.root ?? 0;
    const first = type === TranslationType.FirstStage;
    const translation: SourceTranslation = {
      type,
      domain: this.kind === "blocked" ? 0 : unit.allocateDomain(),
      table: parent?.plan.table?.root ?? (first ? 0 : own),
      levels: (parent ?? this).plan.table?.levels ?? unit.largestLevels,
      firstTable: first ? own : guestTable,
      firstLevels: first ? (table?.levels ?? guestLevels) : guestLevels,
    };
    this.#presences.push({ unit, translation, sources: [] });
    this.#refresh();
    return translation;
  }

  add(unit: VtdUnitDriver, source: Source): void {
    this.#presences.find((presence) => presence.unit === unit)?.sources.push(source);
  }

  /** Leaves a unit when no source is left there; caches know nothing of it any more. */
  remove(unit: VtdUnitDriver, source: Source): void {
    const at = this.#presences.findIndex((presence) => presence.unit === unit);
    const presence = this.#presences[at];
    if (presence === undefined) return;
    const index = presence.sources.findIndex(({ requester, pasid }) => requester === source.requester && pasid === source.pasid);
    if (index >= 0) presence.sources.splice(index, 1);
    if (presence.sources.length > 0) return;
    this.#presences.splice(at, 1);
    if (this.kind !== "blocked") unit.freeDomain(presence.translation.domain);
    this.#refresh();
  }

  /** Frees the tables. */
  destroy(): void {
    this.plan.parent?.children.delete(this);
    this.plan.table?.free();
  }

  #withoutMappings(): IommuDriverError {
    return new IommuDriverError("EOPNOTSUPP", `A domain of kind "${this.kind}" has no mappings of its own.`);
  }

  #pastMemory(hpa: Hpa, size: number): IommuDriverError {
    return new IommuDriverError("ERANGE", `HPA ${hex(hpa)} and ${hex(size)} bytes from it are past the host address width of ${this.plan.hostAddressWidth} bits.`);
  }

  /** Only writing is left to be judged, and what is impossible. */
  #checkPermissions(permissions: Access): void {
    if (permissions !== Access.Write) throw new IommuDriverError("EINVAL", `Permissions ${permissions} cannot be mapped; they are Read (1), Write (2) or both.`);
    if (this.plan.type === TranslationType.FirstStage) throw new IommuDriverError("EOPNOTSUPP", "First-stage tables cannot express pages that may be written but not read.");
  }

  #refresh(): void {
    this.#mappingsAreCached = this.#presences.some(({ unit }) => unit.cachingMode || unit.registers.cap.RWBF === 1);
  }

  /** After mapping: caching mode may know the pages as missing; else write buffers may hold the entries back. VT-d §6.1, §6.8. */
  #announce(first: number, end: number): void {
    for (const presence of this.#presences) {
      if (presence.unit.cachingMode) this.#forget(presence, first, end, false, false);
      else presence.unit.registers.flushWriteBuffer();
    }
  }

  /** A nested domain's parent has mapped something. */
  announce(): void {
    for (const presence of this.#presences) {
      if (presence.unit.cachingMode) forgetAll(presence);
      else presence.unit.registers.flushWriteBuffer();
    }
  }

  /** IOTLB before device-TLBs, which ask it again. VT-d §6.5.2.5. */
  #forget({ unit, translation, sources }: Presence, first: number, end: number, leafOnly: boolean, devices: boolean): void {
    const { commands } = unit;
    const { domain } = translation;
    if (translation.type === TranslationType.SecondStage) {
      if (!inBlocks(first, end, commands.maximumMask, (page, mask) => { commands.pages(domain, page, mask, leafOnly); })) commands.domain(domain);
    } else {
      for (const pasid of new Set(sources.map((source) => source.pasid)))
        if (!inBlocks(first, end, LARGEST_MASK, (page, mask) => { commands.domainPasidPages(domain, pasid, page, mask, leafOnly); })) commands.domainPasid(domain, pasid);
    }
    if (devices) {
      for (const { requester, pasid } of sources) {
        if (!unit.hasDeviceTlb(requester)) continue;
        const shift = coveringShift(first, end);
        const pages = 2 ** (shift - 12);
        commands.deviceTlb(requester, pasid, Math.floor(first / pages) * pages, shift);
      }
    }
    commands.finish();
  }
}

/** Everything that is cached for a domain on a unit. */
const forgetAll = ({ unit, translation, sources }: Presence): void => {
  const { commands } = unit;
  for (const pasid of new Set(sources.map((source) => source.pasid))) commands.domainPasid(translation.domain, pasid);
  commands.domain(translation.domain);
  for (const { requester, pasid } of sources) if (unit.hasDeviceTlb(requester)) commands.deviceTlb(requester, pasid, 0, WHOLE_ADDRESS_SPACE);
  commands.finish();
};
