import { formatAddress } from "@iommu-lab/pci-bus";
import { identitiesOf, PCI_STUB, PCIEPORT, PciDrivers, VFIO_PCI, VfioKernel, type HostVector, type HostVectors } from "@iommu-lab/vfio";
import type { HostKernel } from "./host-kernel.ts";
import type { HostProcessors } from "./host-processors.ts";
import type { Machine } from "./machine.ts";

/** The host's drivers: of each function the one that the description names, and those that every kernel has. */
const hostDrivers = (machine: Machine): PciDrivers => {
  const identities = identitiesOf(machine.complex);
  const drivers = new PciDrivers(identities);
  drivers.register(VFIO_PCI);
  drivers.register(PCI_STUB);
  drivers.register(PCIEPORT);
  const named = new Map<string, Set<string>>();
  for (const { described, seat } of machine.placed) {
    if (described.driver === undefined || described.driver === "pcieport" || described.driver === "vfio-pci" || described.driver === "pci-stub") continue;
    named.set(described.driver, (named.get(described.driver) ?? new Set()).add(formatAddress(seat.address)));
  }
  for (const [name, addresses] of named) {
    const ids = identities.filter(({ address }) => addresses.has(formatAddress(address))).map(({ vendor, device }) => ({ vendor, device }));
    drivers.register({ name, ids });
  }
  return drivers;
};

/** Vectors of the machine's processors, for interrupts of assigned devices. */
class ProcessorVectors implements HostVectors {
  readonly #processors: HostProcessors;

  constructor(processors: HostProcessors) {
    this.#processors = processors;
  }

  allocate(handler: () => void): HostVector {
    const vector = this.#processors.allocate(0, handler);
    return {
      interrupt: { vector: vector.vector, deliveryMode: 0, destination: vector.processor, destinationMode: "physical", trigger: "edge", redirectionHint: false },
      free: () => {
        this.#processors.free(vector);
      },
    };
  }
}

/** The host's VFIO. Undefined where nothing is translated: there are no groups then. */
export const hostVfio = (machine: Machine, kernel: HostKernel): VfioKernel | undefined => {
  const iommu = kernel.driverOf(machine.placed.find(({ seat }) => kernel.driverOf(seat.address))?.seat.address ?? { domain: 0, requester: 0 });
  if (!iommu || kernel.groups.length === 0) return undefined;
  return new VfioKernel({
    complex: machine.complex,
    iommu,
    drivers: hostDrivers(machine),
    vectors: new ProcessorVectors(machine.processors),
    groups: kernel.groups,
    reservedRegions: (address) => kernel.reservedRegionsOf(address),
    kernelDomain: (address) => kernel.defaultDomainOf(address),
    interruptRemapping: kernel.remapsInterrupts,
  });
};
