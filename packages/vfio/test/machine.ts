import { SparseMemory } from "@iommu-lab/memory";
import { formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { msi, msix, pciExpress, PcieType, powerManagement, type CapabilityImage, type FunctionDescription } from "@iommu-lab/pci-bus/capabilities";
import { computeIsolationGroups, factsOfModel } from "@iommu-lab/pci-bus/groups";
import { Bridge, bridgeDescription, Endpoint, enumerate, RootComplex, type EndpointOptions } from "@iommu-lab/pci-bus/model";
import { HostVectorTable, identitiesOf, PCI_STUB, PCIEPORT, PciDrivers, UserProcess, VFIO_PCI, VfioError, VfioKernel, type PageRun, type UserMemory, type VfioKernelOptions } from "../src/index.ts";
import { ManualClock } from "./manual-clock.ts";
import { SoftwareIommu } from "./software-iommu.ts";

/** A process's memory: virtual page p is host page p + `offset`, for `pages` pages; pins are counted by host page. */
class CountedMemory implements UserMemory {
  readonly pins = new Map<number, number>();
  readonly #offset: number;
  readonly #pages: number;
  /** Virtual pages that cannot be written. */
  readonly readOnly = new Set<number>();

  constructor(offset: number, pages: number) {
    this.#offset = offset;
    this.#pages = pages;
  }

  pin(vaddr: number, pages: number, writable: boolean): readonly PageRun[] | undefined {
    const first = vaddr / 4096;
    if (first + pages > this.#pages) return undefined;
    for (let page = first; page < first + pages; page++) if (writable && this.readOnly.has(page)) return undefined;
    for (let page = first; page < first + pages; page++) this.pins.set(page + this.#offset, (this.pins.get(page + this.#offset) ?? 0) + 1);
    return [{ hpa: (first + this.#offset) * 4096, pages }];
  }

  unpin(runs: readonly PageRun[]): void {
    for (const { hpa, pages } of runs)
      for (let page = hpa / 4096; page < hpa / 4096 + pages; page++) {
        const left = (this.pins.get(page) ?? 0) - 1;
        if (left < 0) throw new Error(`Host page ${page} is not pinned.`);
        if (left === 0) this.pins.delete(page);
        else this.pins.set(page, left);
      }
  }

  /** Pins of all pages together. */
  get total(): number {
    return [...this.pins.values()].reduce((sum, count) => sum + count, 0);
  }
}

/** Drivers of a host that want its functions: e1000e and snd_hda_intel by ID. */
export const E1000E = { name: "e1000e", ids: [{ vendor: 0x8086, device: 0x10d3 }] } as const;
export const SOUND = { name: "snd_hda_intel", ids: [{ classCode: 0x04_0300, classMask: 0xff_ff00 }] } as const;

/** A network card with FLR, MSI, MSI-X of 4 vectors in BAR 3, power management, a BAR of 64 KiB, an I/O BAR and a ROM; figures are arbitrary but for the IDs of an 82574L. */
export const nicDescription = (changes: Partial<FunctionDescription> = {}, more: readonly CapabilityImage[] = [], flr: 0 | 1 = 1): FunctionDescription => ({
  vendor: 0x8086,
  device: 0x10d3,
  classCode: 0x02_0000,
  subsystemVendor: 0x8086,
  subsystemDevice: 0xa01f,
  header: 0,
  interruptPin: 1,
  romSize: 0x1000,
  bars: [
    { index: 0, kind: "memory32", size: 0x1_0000 },
    { index: 2, kind: "io", size: 32 },
    { index: 3, kind: "memory64", size: 0x4000 },
  ],
  capabilities: [
    powerManagement({}),
    msi({}),
    pciExpress({ type: PcieType.Endpoint, deviceCapabilities: { FunctionLevelResetCapability: flr } }),
    msix({ vectors: 4, table: { bar: 3, offset: 0x1000 }, pendingBits: { bar: 3, offset: 0x2000 } }),
    ...more,
  ],
  ...changes,
});

/** A machine: NIC at 01:00.0 alone below one root port, graphics 02:00.0 with sound 02:00.1 in one group below another. */
export const makeMachine = (options: Partial<VfioKernelOptions> & { readonly nic?: FunctionDescription; readonly nicOptions?: EndpointOptions; readonly remapping?: boolean } = {}) => {
  const { remapping = true, nic: nicShape = nicDescription(), nicOptions, ...rest } = options;
  const memory = new SparseMemory({ size: 2 ** 30 });
  const clock = new ManualClock();
  const iommu = new SoftwareIommu({ remapping });
  const vectors = new HostVectorTable();
  const kernels: VfioKernel[] = [];
  const complex = new RootComplex({
    memory,
    clock,
    interrupts: { deliver: (interrupt) => { vectors.deliver(interrupt); }, post: () => undefined },
    interruptWire: () => { for (const kernel of kernels) kernel.interruptWire(); },
  });
  const host = complex.addHostBridge({});
  const ports = [1, 2].map((device) => {
    const port = new Bridge("root-port", bridgeDescription("root-port", { acs: true }));
    host.bus.plug(port, device << 3);
    return port;
  });
  const nic = new Endpoint(nicShape, { rom: { read: (offset) => offset & 0xff, write: () => undefined, read64: (_offset, into) => into.fill(0), write64: () => undefined }, ...nicOptions });
  const graphics = new Endpoint(nicDescription({ vendor: 0x10de, device: 0x1b80, classCode: 0x03_0000, multifunction: true }, [], 0));
  const sound = new Endpoint(nicDescription({ vendor: 0x10de, device: 0x10f0, classCode: 0x04_0300, multifunction: true }, [], 0));
  ports[0]?.secondary.plug(nic, 0);
  ports[1]?.secondary.plug(graphics, 0);
  ports[1]?.secondary.plug(sound, 1);
  enumerate(complex);
  complex.addIommu(iommu);
  const drivers = new PciDrivers(identitiesOf(complex));
  for (const driver of [PCIEPORT, VFIO_PCI, PCI_STUB, E1000E, SOUND]) drivers.register(driver);
  const groups = computeIsolationGroups(factsOfModel(complex), { ivrs: false }).groups.map(({ members }, id) => ({ id, members }));
  const kernel = new VfioKernel({ complex, iommu, drivers, vectors, groups, interruptRemapping: remapping, ...rest });
  kernels.push(kernel);
  const address = (endpoint: Endpoint): FunctionAddress => ({ domain: 0, requester: endpoint.port.requester });
  const idOf = (endpoint: Endpoint): number => kernel.ownership.groupOf(address(endpoint))?.id ?? -1;
  return { memory, clock, iommu, vectors, complex, drivers, kernel, nic, graphics, sound, address, idOf, name: (endpoint: Endpoint) => formatAddress(address(endpoint)) };
};

export type TestMachine = ReturnType<typeof makeMachine>;

/** A process with 256 pages at virtual address 0, which are host pages from 0x1000 on. */
export const makeProcess = (limits: { readonly lockedLimit?: number; readonly mayLockAll?: boolean } = {}) => {
  const memory = new CountedMemory(0x1000, 256);
  return { memory, process: new UserProcess({ memory, ...limits }) };
};

/** The NIC bound to vfio-pci and opened by a process, with a type 1 version 2 container. */
export const openNic = (machine: TestMachine, limits: Parameters<typeof makeProcess>[0] = {}) => {
  const { kernel, drivers, nic } = machine;
  const { memory: user, process } = makeProcess(limits);
  if (drivers.driverOf(machine.address(nic))?.name !== "vfio-pci") drivers.detach(machine.address(nic));
  const container = kernel.openContainer(process);
  const group = kernel.openGroup(machine.idOf(nic));
  group.setContainer(container);
  container.setIommu(3);
  const device = group.getDevice(machine.name(nic));
  return { user, process, container, group, device };
};

/** The code of the VfioError that `action` throws; undefined when it throws none. */
export const codeOf = (action: () => unknown): string | undefined => {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof VfioError) return error.code;
    throw error;
  }
};
