import { formatRequester, IommuDriverError, type DomainKind, type Interrupt, type InterruptEntry, type IommuDomain, type IommuDriver, type IommuDriverCallbacks, type RequesterId } from "@iommu-lab/pci-bus";
import { PageTable, TableFrames } from "@iommu-lab/pci-bus/paging";
import { AmdDomain, type DomainPlan } from "./domain.ts";
import { InterruptTables, type InterruptFormat } from "./interrupt-tables.ts";
import type { AmdDriverOptions } from "./options.ts";
import { GUEST_FORMAT, HOST_FORMAT } from "./page-formats.ts";
import { AmdUnitDriver, type SharedResources } from "./unit-driver.ts";
import { UnitRegisters } from "./unit-registers.ts";

/** DomainID has 16 bits; 0 is not used, as in Linux. */
const DOMAIN_IDS = 0x1_0000;
const GUEST_WIDTH = 47;

const keyOf = (requester: RequesterId, pasid: number | undefined): number => requester * 0x20_0000 + (pasid ?? -1) + 1;

/**
 * The kernel's driver of a machine's AMD IOMMUs, under the same contract as VT-d's. A function that nothing is attached to has
 * a valid device table entry without rights: its DMA is refused and logged. AMD-Vi §2.
 */
export class AmdDriver implements IommuDriver {
  readonly units: readonly AmdUnitDriver[];
  readonly #options: AmdDriverOptions;
  readonly #frames: TableFrames;
  readonly #interrupts: InterruptTables;
  readonly #domains = new Set<AmdDomain>();
  readonly #attached = new Map<number, AmdDomain>();
  readonly #freeDomainIds: number[] = [];
  readonly #usedDomainIds = new Set<number>();
  #nextDomainId = 1;
  #nextId = 1;
  #started = false;

  /** @throws IommuDriverError EINVAL or EOPNOTSUPP when the units cannot do what the options ask for, ENOMEM without frames */
  constructor(options: AmdDriverOptions) {
    this.#options = options;
    this.#frames = new TableFrames(options.memory, options.frames);
    const registers = options.units.map((unit) => new UnitRegisters(unit.registers, options.relax, options.polls));
    if (registers.length === 0) throw new IommuDriverError("EINVAL", "A driver needs at least one IOMMU.");
    if (options.tables === "guest" && !registers.every(({ efr }) => efr.GTSup && efr.GIoSup)) throw new IommuDriverError("EOPNOTSUPP", "Not every IOMMU has guest tables for requests without PASID (EFR.GTSup, EFR.GIoSup).");
    const every = (test: (efr: UnitRegisters["efr"]) => number | boolean): boolean => registers.every(({ efr }) => Boolean(test(efr)));
    const wide = every((efr) => efr.GASup);
    const format: InterruptFormat = { wide, extended: wide && (options.x2apic ?? true) && every((efr) => efr.XTSup), guests: wide && every((efr) => efr.GAMSup === 1) };
    this.#interrupts = new InterruptTables(
      this.#frames,
      format,
      (requester) => this.#unitOf(requester).commands,
      (requester) => { this.#unitOf(requester).sources.refresh(requester); },
    );
    const shared: SharedResources = {
      frames: this.#frames,
      format,
      interrupts: () => this.#interrupts,
      emptyInterrupts: () => this.#interrupts.empty,
      allocateDomainId: () => this.#allocateDomainId(),
      freeDomainId: (id) => { this.#freeDomainId(id); },
      domainIds: () => this.#usedDomainIds,
    };
    this.units = options.units.map((unit, i) => new AmdUnitDriver(unit, options, registers[i]!, shared));
  }

  start(callbacks: IommuDriverCallbacks = {}): void {
    if (this.#started) throw new IommuDriverError("EBUSY", "The IOMMUs are on already.");
    const on: AmdUnitDriver[] = [];
    try {
      for (const unit of this.units) {
        on.push(unit);
        unit.start(callbacks);
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
    const plan = this.#plan(kind);
    const domain = new AmdDomain(this.#nextId++, this.#allocateDomainId(), plan);
    this.#domains.add(domain);
    return domain;
  }

  destroyDomain(domain: IommuDomain): void {
    const own = this.#own(domain);
    if (own.isAttached) throw new IommuDriverError("EBUSY", `Domain ${own.id} cannot be destroyed: functions are attached to it.`);
    if (own.children.size > 0) throw new IommuDriverError("EBUSY", `Domain ${own.id} cannot be destroyed: nested domains build on it.`);
    own.destroy();
    this.#freeDomainId(own.domainId);
    this.#domains.delete(own);
  }

  attach(requester: RequesterId, domain: IommuDomain, pasid?: number): void {
    const unit = this.#unitOf(requester);
    const own = this.#own(domain);
    if (pasid !== undefined) unit.checkPasid(pasid);
    const key = keyOf(requester, pasid);
    const current = this.#attached.get(key);
    if (current === own) return;
    if (pasid !== undefined && own.kind === "paging" && !own.plan.guest) throw new IommuDriverError("EOPNOTSUPP", 'A PASID needs a domain with guest tables; make the driver with `tables: "guest"`.');
    if (pasid !== undefined && own.kind !== "paging" && own.kind !== "blocked") throw new IommuDriverError("EOPNOTSUPP", `A domain of kind "${own.kind}" cannot be behind a PASID.`);
    if (current !== undefined) this.#detach(unit, requester, pasid, current);
    unit.sources.attach(requester, pasid, own);
    own.add({ unit, requester, pasid });
    this.#attached.set(key, own);
  }

  detach(requester: RequesterId, pasid?: number): void {
    const unit = this.#unitOf(requester);
    if (pasid !== undefined) unit.checkPasid(pasid);
    const domain = this.#attached.get(keyOf(requester, pasid));
    if (domain === undefined) throw new IommuDriverError("EINVAL", `Nothing is attached to ${formatRequester(requester)}${pasid === undefined ? "" : ` with PASID ${pasid}`}.`);
    this.#detach(unit, requester, pasid, domain);
  }

  allocateInterrupt(requester: RequesterId, interrupt: Readonly<Interrupt>): InterruptEntry {
    this.#unitOf(requester);
    if (this.#options.interruptRemapping === false) throw new IommuDriverError("EOPNOTSUPP", "This driver was told to leave interrupts alone.");
    return this.#interrupts.allocate(requester, interrupt);
  }

  service(): void {
    if (this.#started) for (const unit of this.units) unit.service();
  }

  #detach(unit: AmdUnitDriver, requester: RequesterId, pasid: number | undefined, domain: AmdDomain): void {
    unit.sources.detach(requester, pasid);
    domain.remove({ unit, requester, pasid });
    domain.forgetAfterDetach(unit);
    if (this.#started) unit.abandonPageRequests(requester, pasid);
    this.#attached.delete(keyOf(requester, pasid));
  }

  #own(domain: IommuDomain): AmdDomain {
    if (domain instanceof AmdDomain && this.#domains.has(domain)) return domain;
    throw new IommuDriverError("EINVAL", `Domain ${domain.id} is not one of this driver, or was destroyed.`);
  }

  #unitOf(requester: RequesterId): AmdUnitDriver {
    const unit = Number.isInteger(requester) && requester >= 0 && requester <= 0xffff ? this.units.find((candidate) => candidate.covers(requester)) : undefined;
    if (unit === undefined) throw new IommuDriverError("ENODEV", `No IOMMU covers requester ${requester}.`);
    return unit;
  }

  #allocateDomainId(): number {
    const id = this.#freeDomainIds.pop() ?? this.#nextDomainId++;
    if (id >= DOMAIN_IDS) throw new IommuDriverError("ENOSPC", "All 65535 domain identifiers are in use.");
    this.#usedDomainIds.add(id);
    return id;
  }

  #freeDomainId(id: number): void {
    this.#usedDomainIds.delete(id);
    this.#freeDomainIds.push(id);
  }

  #plan(kind: DomainKind): DomainPlan {
    const common = { physicalAddressWidth: this.#options.physicalAddressWidth, pageShifts: [], guest: false };
    switch (kind.kind) {
      case "blocked":
      case "identity":
        return { ...common, kind: kind.kind };
      case "nested":
        return { ...common, ...this.#nested(kind) };
      case "paging":
        return this.#paging(kind.addressWidth, this.#options.tables === "guest" && kind.nestingParent !== true);
    }
  }

  #paging(addressWidth: number | undefined, guest: boolean): DomainPlan {
    const most = Math.min(...this.units.map(({ registers }) => (registers.efr.HATS < 3 ? registers.efr.HATS + 4 : 0)));
    const width = (levels: number): number => (guest ? GUEST_WIDTH : 9 * levels + 12);
    const depths = guest ? [4] : [3, 4, 5, 6].filter((levels) => levels <= most);
    const wanted = addressWidth ?? width(this.#options.levels ?? 4);
    const levels = depths.find((depth) => width(depth) >= wanted);
    if (levels === undefined || !Number.isInteger(wanted) || wanted < 0) throw new IommuDriverError("EINVAL", `No ${guest ? "guest" : "host"} table of these IOMMUs translates ${wanted} bits.`);
    const bits = Math.min(addressWidth ?? 64, width(levels), 64);
    const table = new PageTable({ frames: this.#frames, format: guest ? GUEST_FORMAT : HOST_FORMAT, levels, limit: 2 ** (bits - 12), largest: 3 });
    return { kind: "paging", table, guest, pageShifts: [12, 21, 30], physicalAddressWidth: this.#options.physicalAddressWidth };
  }

  #nested({ parent, table, levels }: Extract<DomainKind, { kind: "nested" }>): DomainPlan {
    const own = this.#own(parent);
    const { efr } = this.units[0]!.registers;
    if (!this.units.every(({ registers }) => registers.efr.GTSup && registers.efr.GIoSup)) throw new IommuDriverError("EOPNOTSUPP", "Not every IOMMU has guest tables for requests without PASID (EFR.GTSup, EFR.GIoSup).");
    if (own.kind !== "paging" || own.plan.guest) throw new IommuDriverError("EINVAL", "The parent of a nested domain is a paging domain with host tables (`nestingParent`).");
    if (levels === 5 && efr.GATS < 1) throw new IommuDriverError("EOPNOTSUPP", "These IOMMUs have no 5-level guest tables (EFR.GATS = 0).");
    if (!Number.isInteger(table) || table < 0 || table % 4096 !== 0) throw new IommuDriverError("EINVAL", `A guest table at ${table} is impossible; it is a page.`);
    return { kind: "nested", parent: own, guest: false, guestTable: table / 4096, guestLevels: levels, pageShifts: [], physicalAddressWidth: this.#options.physicalAddressWidth };
  }
}
