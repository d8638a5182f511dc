import type { MmioHandler } from "@iommu-lab/memory";
import {
  Access,
  AddressType,
  Completion,
  IommuDriverError,
  type DomainKind,
  type Interrupt,
  type InterruptEntry,
  type InterruptMessage,
  type InterruptSink,
  type InterruptVerdict,
  type Iommu,
  type IommuDomain,
  type IommuDriver,
  type RequesterId,
  type Translation,
  type TranslationRequest,
} from "@iommu-lab/pci-bus";

interface Page {
  readonly frame: number;
  readonly access: Access;
}

const PAGE = 4096;
const pageNumber = (iova: number | bigint): number => Number(BigInt(iova) / 4096n);

/** A domain whose tables are a map; what was unmapped stays usable until `flush`, as an IOTLB may keep it. */
export class SoftwareDomain implements IommuDomain {
  readonly id: number;
  readonly kind: DomainKind["kind"];
  readonly description: DomainKind;
  readonly pageSizes = [PAGE, 512 * PAGE] as const;
  readonly pages = new Map<number, Page>();
  readonly stale = new Map<number, Page>();
  flushes = 0;
  /** Makes the next calls of `map` fail so. */
  refuse: IommuDriverError | undefined;
  writeNeedsRead = false;

  constructor(id: number, description: DomainKind) {
    this.id = id;
    this.kind = description.kind;
    this.description = description;
  }

  map(iova: number | bigint, hpa: number, size: number, permissions: Access): void {
    if (this.refuse) throw this.refuse;
    if (this.kind !== "paging") throw new IommuDriverError("EOPNOTSUPP", "This domain has no mappings of its own.");
    if (BigInt(iova) % 4096n !== 0n || hpa % PAGE !== 0 || size % PAGE !== 0 || size <= 0) throw new IommuDriverError("EINVAL", "Misaligned.");
    if (this.writeNeedsRead && permissions === Access.Write) throw new IommuDriverError("EOPNOTSUPP", "Write needs read.");
    const first = pageNumber(iova);
    const count = size / PAGE;
    for (let each = 0; each < count; each++) if (this.pages.has(first + each)) throw new IommuDriverError("EEXIST", "Mapped already.");
    for (let each = 0; each < count; each++) {
      this.pages.set(first + each, { frame: hpa / PAGE + each, access: permissions });
      this.stale.delete(first + each);
    }
  }

  unmap(iova: number | bigint, size: number): number {
    const first = pageNumber(iova);
    let mapped = 0;
    for (let page = first; page < first + size / PAGE; page++) {
      const found = this.pages.get(page);
      if (!found) continue;
      this.pages.delete(page);
      this.stale.set(page, found);
      mapped += PAGE;
    }
    return mapped;
  }

  flush(): void {
    this.flushes++;
    this.stale.clear();
  }

  lookup(iova: number | bigint): number | undefined {
    const found = this.pages.get(pageNumber(iova));
    return found && found.frame * PAGE + Number(BigInt(iova) % 4096n);
  }

  /** What hardware with the worst IOTLB would use. */
  reach(page: number): Page | undefined {
    return this.pages.get(page) ?? this.stale.get(page);
  }
}

const own = (domain: IommuDomain): SoftwareDomain => {
  if (!(domain instanceof SoftwareDomain)) throw new TypeError("This domain belongs to another driver.");
  return domain;
};

const NO_REGISTERS: MmioHandler = {
  read: () => 0,
  write: () => undefined,
  read64: (_offset, into) => into.fill(0),
  write64: () => undefined,
};

interface Entry {
  readonly requester: RequesterId;
  interrupt: Interrupt;
}

/** An IOMMU and its driver without tables: domains are maps, interrupts are remapped by index. Unattached functions are blocked. */
export class SoftwareIommu implements Iommu, IommuDriver {
  readonly registers = NO_REGISTERS;
  readonly attached = new Map<RequesterId, SoftwareDomain>();
  readonly entries = new Map<number, Entry>();
  readonly domains = new Set<SoftwareDomain>();
  /** Requests that were refused. */
  faults = 0;
  /** Makes `attach` fail so for some domains. */
  refuse: ((domain: SoftwareDomain) => IommuDriverError | undefined) | undefined;
  readonly #remapping: boolean;
  #nextDomain = 1;
  #nextEntry = 0;

  constructor({ remapping = true }: { readonly remapping?: boolean } = {}) {
    this.#remapping = remapping;
  }

  readonly start = (): undefined => undefined;
  readonly stop = (): undefined => undefined;
  readonly service = (): undefined => undefined;
  readonly connect = (): undefined => undefined;
  readonly pageRequest = (): undefined => undefined;
  readonly reset = (): undefined => undefined;

  createDomain(kind: DomainKind): SoftwareDomain {
    const domain = new SoftwareDomain(this.#nextDomain++, kind);
    this.domains.add(domain);
    return domain;
  }

  destroyDomain(domain: IommuDomain): void {
    for (const each of this.attached.values()) if (each === domain) throw new IommuDriverError("EBUSY", "Something is attached.");
    this.domains.delete(own(domain));
  }

  attach(requester: RequesterId, domain: IommuDomain): void {
    const refusal = this.refuse?.(own(domain));
    if (refusal) throw refusal;
    this.attached.set(requester, own(domain));
  }

  detach(requester: RequesterId): void {
    if (!this.attached.delete(requester)) throw new IommuDriverError("EINVAL", "Nothing is attached.");
  }

  allocateInterrupt(requester: RequesterId, interrupt: Readonly<Interrupt>): InterruptEntry {
    if (!this.#remapping) throw new IommuDriverError("EOPNOTSUPP", "No interrupt remapping.");
    const index = this.#nextEntry++;
    const entry: Entry = { requester, interrupt: { ...interrupt } };
    this.entries.set(index, entry);
    return {
      message: { requester, address: 0xfee0_0000 + index * 32, data: 0 },
      retarget: (to) => {
        entry.interrupt = { ...to };
      },
      post: () => undefined,
      free: () => {
        this.entries.delete(index);
      },
    };
  }

  translate(request: Readonly<TranslationRequest>, out: Translation): void {
    const domain = this.attached.get(request.requester);
    const found = domain?.kind === "identity" ? { frame: request.page as number, access: Access.Read | Access.Write } : domain?.reach(request.page);
    const passed = found !== undefined && (found.access & request.access) === request.access && request.addressType !== AddressType.Translated;
    out.page = found?.frame ?? 0;
    out.permissions = found?.access ?? 0;
    out.fault = passed ? 0 : 1;
    out.completion = passed ? Completion.Successful : Completion.UnsupportedRequest;
    if (!passed) this.faults++;
  }

  remapInterrupt(message: Readonly<InterruptMessage>, sink: InterruptSink, out: InterruptVerdict): void {
    const entry = this.entries.get((message.address >>> 5) & 0x7fff);
    out.fault = entry?.requester === message.requester ? 0 : 0x22;
    if (entry && out.fault === 0) sink.deliver(entry.interrupt);
    else this.faults++;
  }
}
