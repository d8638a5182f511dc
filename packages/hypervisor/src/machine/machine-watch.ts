import type { Hpa } from "@iommu-lab/memory";
import type { Access, IommuDomain, IommuDriver, IommuFault } from "@iommu-lab/pci-bus";
import type { VgaArbiter } from "@iommu-lab/vga-arbiter";
import type { ExitReason, HandledIn } from "../vm/exits.ts";

/** What software on a machine does, for who listens. What is left out costs nothing. */
export interface MachineWatch {
  /** An IOMMU reported it, and the kernel has read it. */
  fault?(fault: IommuFault): void;
  /** A domain got pages. */
  map?(domain: number, iova: bigint, hpa: Hpa, size: number, access: Access): void;
  /** A domain lost pages; `unmapped` bytes were there. */
  unmap?(domain: number, iova: bigint, size: number, unmapped: number): void;
  /** A virtual processor left its guest. */
  exit?(vm: string, reason: ExitReason, handledIn: HandledIn): void;
  /** Who decodes, owns and locks the legacy VGA ranges may have changed. */
  vga?(arbiter: VgaArbiter): void;
}

const bound = (target: object, name: string | symbol): unknown => {
  const value: unknown = Reflect.get(target, name);
  return typeof value === "function" ? (value.bind(target) as unknown) : value;
};

const watchDomain = (domain: IommuDomain, watch: MachineWatch): IommuDomain => {
  const map: IommuDomain["map"] = (iova, hpa, size, access) => {
    domain.map(iova, hpa, size, access);
    watch.map?.(domain.id, BigInt(iova), hpa, size, access);
  };
  const unmap: IommuDomain["unmap"] = (iova, size) => {
    const unmapped = domain.unmap(iova, size);
    watch.unmap?.(domain.id, BigInt(iova), size, unmapped);
    return unmapped;
  };
  return new Proxy(domain, { get: (target, name) => (name === "map" ? map : name === "unmap" ? unmap : bound(target, name)) });
};

/** A driver whose domains are watched. Domains are given to it as it gave them. */
export const watchDriver = (driver: IommuDriver, watch: MachineWatch): IommuDriver => {
  const inner = new WeakMap<IommuDomain, IommuDomain>();
  const innerOf = (domain: IommuDomain): IommuDomain => inner.get(domain) ?? domain;
  const watched: Pick<IommuDriver, "createDomain" | "destroyDomain" | "attach"> = {
    createDomain: (kind) => {
      const domain = driver.createDomain(kind.kind === "nested" ? { ...kind, parent: innerOf(kind.parent) } : kind);
      const outer = watchDomain(domain, watch);
      inner.set(outer, domain);
      return outer;
    },
    destroyDomain: (domain) => { driver.destroyDomain(innerOf(domain)); },
    attach: (requester, domain, pasid) => { driver.attach(requester, innerOf(domain), pasid); },
  };
  return new Proxy(driver, { get: (target, name) => (name === "createDomain" || name === "destroyDomain" || name === "attach" ? watched[name] : bound(target, name)) });
};
