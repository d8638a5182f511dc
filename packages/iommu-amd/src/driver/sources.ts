import { formatRequester, IommuDriverError, type RequesterId } from "@iommu-lab/pci-bus";
import type { TableFrames } from "@iommu-lab/pci-bus/paging";
import { EVERY_PAGE, type CommandQueue } from "./command-queue.ts";
import { BLOCKED, type DeviceTable, type Translation } from "./device-table.ts";
import type { AmdDomain } from "./domain.ts";
import { Gcr3Table } from "./gcr3-table.ts";
import type { InterruptTables } from "./interrupt-tables.ts";

/** What one function is bound to. */
interface Source {
  /** Requests without PASID. */
  base: AmdDomain | undefined;
  readonly pasids: Map<number, AmdDomain>;
  gcr3: Gcr3Table | undefined;
  /** DomainID of its guest translations: functions with GCR3 tables of their own may not share one. AMD-Vi §2.2.3. */
  domainId: number;
}

/** What sources need of the IOMMU that serves them. */
export interface SourcePorts {
  readonly frames: TableFrames;
  readonly table: DeviceTable;
  readonly interrupts: () => InterruptTables | undefined;
  readonly commands: CommandQueue;
  readonly hasDeviceTlb: (requester: RequesterId) => boolean;
  /** GLX of GCR3 tables, less one level. */
  readonly guestDepth: number;
  readonly allocateDomainId: () => number;
  readonly freeDomainId: (id: number) => void;
}

/** The functions of one IOMMU and their device table entries. */
export class Sources {
  readonly #ports: SourcePorts;
  readonly #sources = new Map<RequesterId, Source>();

  constructor(ports: SourcePorts) {
    this.#ports = ports;
  }

  /** Functions that have something attached. */
  get attached(): Iterable<RequesterId> {
    return this.#sources.keys();
  }

  /** @throws IommuDriverError EOPNOTSUPP where host tables and PASIDs would meet in one entry */
  attach(requester: RequesterId, pasid: number | undefined, domain: AmdDomain): void {
    const source = this.#sources.get(requester) ?? { base: undefined, pasids: new Map<number, AmdDomain>(), gcr3: undefined, domainId: 0 };
    const hostTables = pasid === undefined ? domain.usesHostTables : source.base?.usesHostTables === true;
    if (hostTables && (pasid !== undefined || source.pasids.size > 0)) throw new IommuDriverError("EOPNOTSUPP", `${formatRequester(requester)} cannot have PASIDs beside a domain with host tables; make its domains with \`tables: "guest"\`.`);
    if (domain.usesGuestTables || pasid !== undefined) this.#needGuestTables(source);
    this.#sources.set(requester, source);
    if (pasid === undefined) source.base = domain;
    else source.pasids.set(pasid, domain);
    if (source.gcr3 !== undefined) source.gcr3.set(pasid ?? 0, domain.guestRoot);
    this.#apply(requester, source, pasid);
  }

  detach(requester: RequesterId, pasid: number | undefined): void {
    const source = this.#sources.get(requester);
    if (source === undefined) return;
    if (pasid === undefined) source.base = undefined;
    else source.pasids.delete(pasid);
    source.gcr3?.set(pasid ?? 0, undefined);
    const idle = source.base === undefined && source.pasids.size === 0;
    const { gcr3, domainId } = source;
    if (idle) source.gcr3 = undefined;
    this.#apply(requester, source, pasid, domainId);
    if (!idle) return;
    this.#sources.delete(requester);
    if (gcr3 === undefined) return;
    gcr3.free();
    this.#ports.freeDomainId(domainId);
  }

  /** The function's interrupt table changed. */
  refresh(requester: RequesterId): void {
    const source = this.#sources.get(requester);
    this.#write(requester, source);
    this.#ports.commands.deviceEntry(requester);
    this.#ports.commands.interruptTable(requester);
    this.#ports.commands.finish();
  }

  /** Makes caches forget pages of a domain, for one function that it is attached to. @param page `EVERY_PAGE` or an aligned one */
  forget(requester: RequesterId, pasid: number | undefined, domain: AmdDomain, page: number, order: number, tables: boolean): void {
    const { commands } = this.#ports;
    const source = this.#sources.get(requester);
    if (domain.usesHostTables && domain.kind !== "nested") commands.pages(domain.domainId, undefined, page, order, tables);
    if (source?.gcr3 === undefined) return;
    commands.pages(source.domainId, pasid ?? 0, page, order, tables);
    if (domain.kind === "nested") commands.pages(source.domainId, undefined, page, order, tables);
  }

  forgetDeviceTlb(requester: RequesterId, pasid: number | undefined, page: number, order: number): void {
    if (this.#ports.hasDeviceTlb(requester)) this.#ports.commands.deviceTlb(requester, pasid, page, order);
  }

  #needGuestTables(source: Source): void {
    if (source.gcr3 !== undefined) return;
    source.gcr3 = new Gcr3Table(this.#ports.frames, this.#ports.guestDepth);
    source.domainId = this.#ports.allocateDomainId();
  }

  /** Entry, then what was translated under it, then device-TLBs. AMD-Vi §2.2.2.2. */
  #apply(requester: RequesterId, source: Source, pasid: number | undefined, guestDomain = source.domainId): void {
    this.#write(requester, source);
    const { commands } = this.#ports;
    commands.deviceEntry(requester);
    if (guestDomain !== 0) {
      commands.pages(guestDomain, pasid ?? 0, EVERY_PAGE, 0, true);
      commands.pages(guestDomain, undefined, EVERY_PAGE, 0, true);
    }
    this.forgetDeviceTlb(requester, pasid, EVERY_PAGE, 0);
    commands.finish();
  }

  #write(requester: RequesterId, source: Source | undefined): void {
    const { table, interrupts } = this.#ports;
    table.write(requester, source === undefined ? BLOCKED : this.#translation(source), interrupts()?.of(requester) ?? {});
  }

  #translation({ base, pasids, gcr3, domainId }: Source): Translation {
    const host = base?.hostTranslation ?? {};
    if (gcr3 === undefined) return host;
    const guest = {
      GV: 1,
      // Without it, requests without PASID do not go through guest tables: they are the identity domain's.
      GIoV: base?.kind === "identity" ? 0 : 1,
      GLX: this.#ports.guestDepth,
      GCR3Low: gcr3.page & 7,
      GCR3Mid: Math.floor(gcr3.page / 8) & 0xffff,
      GCR3High: Math.floor(gcr3.page / 2 ** 19),
      GuestPagingMode: base?.guestLevels === 5 ? 1 : 0,
      DomainID: domainId,
      IR: 1,
      IW: 1,
    };
    if (base === undefined && pasids.size === 0) return BLOCKED;
    return { ...host, ...guest };
  }
}
