import { hex, PAGE_SIZE } from "@iommu-lab/memory";
import {
  Access,
  formatRequester,
  IommuDriverError,
  type DomainKind,
  type Interrupt,
  type InterruptEntry,
  type IommuDomain,
  type IommuDriver,
  type IommuDriverCallbacks,
  type RequesterId,
} from "@iommu-lab/pci-bus";
import { VtdDomain, type DomainPlan } from "./domain.ts";
import type { VtdDriverOptions } from "./options.ts";
import { FIRST_STAGE_FORMAT, SECOND_STAGE_FORMAT } from "./page-formats.ts";
import { RegisterAccess } from "./register-access.ts";
import { PageTable, TableFrames } from "@iommu-lab/pci-bus/paging";
import { canBeScalable, VtdUnitDriver } from "./unit-driver.ts";
import { TranslationType } from "./unit-sources.ts";

/** A source's key: requester ID and PASID. */
const keyOf = (requester: RequesterId, pasid: number): number => requester * 0x10_0000 + pasid;

/**
 * The kernel's driver of a machine's VT-d units. Domains can be attached on every unit, so that they use what all units have.
 *
 * As in Linux, a function that nothing is attached to, or a blocked domain, has no present entry: its DMA is refused and
 * recorded as a fault. Stopping keeps tables, attachments and interrupt entries; starting again brings them back.
 * Model: memory has no processor caches, so that units whose walks do not snoop (ECAP.C = 0) need no cache-line flushes.
 */
export class VtdDriver implements IommuDriver {
  readonly units: readonly VtdUnitDriver[];
  readonly #options: VtdDriverOptions;
  readonly #frames: TableFrames;
  readonly #stage: "first" | "second";
  readonly #domains = new Set<VtdDomain>();
  readonly #attached = new Map<number, VtdDomain>();
  #nextId = 1;
  #started = false;

  /** @throws IommuDriverError EINVAL or EOPNOTSUPP when the units cannot do what the options ask for, ENOMEM without frames */
  constructor(options: VtdDriverOptions) {
    this.#options = options;
    this.#frames = new TableFrames(options.memory, options.frames);
    const registers = options.units.map((unit) => new RegisterAccess(unit.registers, options.relax, options.polls));
    if (registers.length === 0) throw new IommuDriverError("EINVAL", "A driver needs at least one remapping unit.");
    const scalable = options.mode === undefined ? registers.every(canBeScalable) && options.invalidation !== "registers" : options.mode === "scalable";
    if (scalable && !registers.every(canBeScalable)) throw new IommuDriverError("EOPNOTSUPP", "Not every remapping unit has scalable mode.");
    this.units = options.units.map((unit, i) => new VtdUnitDriver(unit, options, registers[i]!, scalable));
    this.#stage = options.stage ?? (this.units.every(({ secondStage }) => secondStage) ? "second" : "first");
    if (!this.units.every((unit) => (this.#stage === "first" ? unit.firstStage : unit.secondStage))) throw new IommuDriverError("EOPNOTSUPP", `Not every remapping unit has ${this.#stage}-stage tables in ${scalable ? "scalable" : "legacy"} mode.`);
  }

  start(callbacks: IommuDriverCallbacks = {}): void {
    if (this.#started) throw new IommuDriverError("EBUSY", "The remapping units are on already.");
    const on: VtdUnitDriver[] = [];
    try {
      for (const unit of this.units) {
        unit.start(callbacks);
        on.push(unit);
      }
    } catch (error) {
      for (const unit of on) unit.stop();
      throw error;
    }
    this.#started = true;
  }

  stop(): void {
    if (!this.#started) return;
    for (const unit of this.units) unit.stop();
    this.#started = false;
  }

  createDomain(kind: DomainKind): IommuDomain {
    const domain = new VtdDomain(this.#nextId++, this.#plan(kind));
    this.#domains.add(domain);
    return domain;
  }

  destroyDomain(domain: IommuDomain): void {
    const own = this.#own(domain);
    if (own.isAttached) throw new IommuDriverError("EBUSY", `Domain ${own.id} cannot be destroyed: functions are attached to it.`);
    if (own.children.size > 0) throw new IommuDriverError("EBUSY", `Domain ${own.id} cannot be destroyed: nested domains build on it.`);
    own.destroy();
    this.#domains.delete(own);
  }

  /** A function that is attached elsewhere is moved; in between it is blocked. When moving it fails for want of memory, it stays so. */
  attach(requester: RequesterId, domain: IommuDomain, pasid?: number): void {
    const unit = this.#unitOf(requester);
    const own = this.#own(domain);
    const source = { requester, pasid: this.#pasid(unit, pasid) };
    const key = keyOf(requester, source.pasid);
    const current = this.#attached.get(key);
    if (current === own) return;
    const translation = own.enter(unit);
    own.add(unit, source);
    try {
      if (current !== undefined) this.#detach(unit, source.requester, source.pasid, current);
      if (own.kind !== "blocked") unit.sources.attach(requester, source.pasid, translation);
    } catch (error) {
      // After EIO the entry stands in memory, and what caches say is unknown: the domain stays where it may be in use.
      if (error instanceof IommuDriverError && error.code === "EIO" && !this.#attached.has(key)) this.#attached.set(key, own);
      else own.remove(unit, source);
      throw error;
    }
    this.#attached.set(key, own);
  }

  detach(requester: RequesterId, pasid?: number): void {
    const unit = this.#unitOf(requester);
    const number = this.#pasid(unit, pasid);
    const domain = this.#attached.get(keyOf(requester, number));
    if (domain === undefined) throw new IommuDriverError("EINVAL", `Nothing is attached to ${formatRequester(requester)}${number === 0 ? "" : ` with PASID ${hex(number)}`}.`);
    this.#detach(unit, requester, number, domain);
  }

  allocateInterrupt(requester: RequesterId, interrupt: Readonly<Interrupt>): InterruptEntry {
    const { interrupts } = this.#unitOf(requester);
    if (interrupts === undefined) throw new IommuDriverError("EOPNOTSUPP", "The remapping unit does not remap interrupts, or has no invalidation queue in use.");
    return interrupts.allocate(requester, interrupt);
  }

  service(): void {
    if (this.#started) for (const unit of this.units) unit.service();
  }

  #detach(unit: VtdUnitDriver, requester: RequesterId, pasid: number, domain: VtdDomain): void {
    if (domain.kind !== "blocked") {
      unit.sources.detach(requester, pasid, domain.enter(unit));
      unit.abandonPageRequests(requester, pasid);
    }
    domain.remove(unit, { requester, pasid });
    this.#attached.delete(keyOf(requester, pasid));
  }

  #own(domain: IommuDomain): VtdDomain {
    if (domain instanceof VtdDomain && this.#domains.has(domain)) return domain;
    throw new IommuDriverError("EINVAL", `Domain ${domain.id} is not one of this driver, or was destroyed.`);
  }

  #unitOf(requester: RequesterId): VtdUnitDriver {
    const unit = Number.isInteger(requester) && requester >= 0 && requester <= 0xffff ? this.units.find((candidate) => candidate.covers(requester)) : undefined;
    if (unit === undefined) throw new IommuDriverError("ENODEV", `No remapping unit covers requester ${requester}.`);
    return unit;
  }

  /** 0 stands for requests without PASID. */
  #pasid({ pasidBits }: VtdUnitDriver, pasid: number | undefined): number {
    if (pasid === undefined) return 0;
    if (pasidBits === 0) throw new IommuDriverError("EOPNOTSUPP", "The remapping unit does not translate requests with PASID.");
    if (!Number.isInteger(pasid) || pasid < 1 || pasid >= 2 ** pasidBits) throw new IommuDriverError("EINVAL", `PASID ${pasid} is impossible; it is 1 to ${hex(2 ** pasidBits - 1)}, since 0 stands for requests without.`);
    return pasid;
  }

  #plan(kind: DomainKind): DomainPlan {
    const common = { hostAddressWidth: this.#options.hostAddressWidth, pageShifts: [] };
    switch (kind.kind) {
      case "blocked":
        return { ...common, kind: "blocked", type: TranslationType.PassThrough };
      case "identity":
        return this.units.every(({ registers }) => registers.ecap.PT === 1) ? { ...common, kind: "identity", type: TranslationType.PassThrough } : this.#identityTables();
      case "nested":
        return { ...common, ...this.#nested(kind) };
      case "paging":
        return this.#paging(kind.addressWidth, kind.nestingParent === true ? "second" : this.#stage);
    }
  }

  #paging(addressWidth: number | undefined, stage: "first" | "second"): DomainPlan {
    const supports = (test: (unit: VtdUnitDriver) => boolean): boolean => this.units.every(test);
    if (stage === "second" && !supports(({ secondStage }) => secondStage)) throw new IommuDriverError("EOPNOTSUPP", "Not every remapping unit has second-stage tables.");
    // Lower halves only: first-stage addresses are canonical.
    const widthOf = (levels: number): number => (stage === "first" ? 9 * levels + 11 : Math.min(9 * levels + 12, ...this.units.map(({ registers }) => registers.cap.MGAW + 1)));
    const depths = [3, 4, 5].filter((levels) => supports(({ registers: { cap } }) => (stage === "second" ? ((cap.SAGAW >>> (levels - 2)) & 1) === 1 : levels === 4 || (levels === 5 && cap.FS5LP === 1))));
    if (depths.length === 0) throw new IommuDriverError("EOPNOTSUPP", `These units have no depth of ${stage}-stage tables in common.`);
    const wanted = addressWidth ?? (depths.includes(4) ? widthOf(4) : 0);
    const levels = depths.find((depth) => widthOf(depth) >= wanted);
    if (levels === undefined || !Number.isInteger(wanted) || wanted < 0) throw new IommuDriverError("EINVAL", `No ${stage}-stage table of these units translates ${wanted} bits.`);
    const large = supports(({ registers: { cap } }) => (stage === "first" ? true : (cap.SSLPS & 1) === 1));
    const huge = large && supports(({ registers: { cap } }) => (stage === "first" ? cap.FS1GP === 1 : (cap.SSLPS & 2) === 2));
    const table = new PageTable({
      frames: this.#frames,
      format: stage === "first" ? FIRST_STAGE_FORMAT : SECOND_STAGE_FORMAT,
      levels,
      limit: 2 ** (Math.min(addressWidth ?? 64, widthOf(levels)) - 12),
      largest: huge ? 3 : large ? 2 : 1,
    });
    return {
      kind: "paging",
      type: stage === "first" ? TranslationType.FirstStage : TranslationType.SecondStage,
      table,
      pageShifts: [12, ...(large ? [21] : []), ...(huge ? [30] : [])],
      hostAddressWidth: this.#options.hostAddressWidth,
    };
  }

  /** Without pass-through, identity is a table of all RAM. */
  #identityTables(): DomainPlan {
    const { ram } = this.#options;
    if (ram === undefined) throw new IommuDriverError("EOPNOTSUPP", "A remapping unit has no pass-through (ECAP.PT = 0); give the driver the machine's `ram`, so that it can map it.");
    const plan = this.#paging(undefined, this.#stage);
    for (const { start, size } of ram) plan.table?.map(start / PAGE_SIZE, start / PAGE_SIZE, size / PAGE_SIZE, Access.Read | Access.Write);
    return { ...plan, kind: "identity" };
  }

  #nested({ parent, table, levels }: DomainKind & { readonly kind: "nested" }): Pick<DomainPlan, "kind" | "type" | "parent" | "guestTable" | "guestLevels"> {
    const own = this.#own(parent);
    if (!this.units.every(({ nesting }) => nesting)) throw new IommuDriverError("EOPNOTSUPP", "Not every remapping unit has nested translation in use.");
    if (own.kind !== "paging" || own.plan.type !== TranslationType.SecondStage) throw new IommuDriverError("EINVAL", `Domain ${own.id} cannot be nested on: it is to be a paging domain made as \`nestingParent\`.`);
    if (!Number.isInteger(table) || table < 0 || table % PAGE_SIZE !== 0) throw new IommuDriverError("EINVAL", `A guest's table at GPA ${table} is impossible; it starts at a multiple of 4096.`);
    if (levels === 5 && !this.units.every(({ registers }) => registers.cap.FS5LP === 1)) throw new IommuDriverError("EOPNOTSUPP", "Not every remapping unit has 5-level first-stage tables.");
    return { kind: "nested", type: TranslationType.Nested, parent: own, guestTable: table / PAGE_SIZE, guestLevels: levels };
  }
}
