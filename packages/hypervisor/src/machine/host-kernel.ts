import { PAGE_SIZE } from "@iommu-lab/memory";
import { encodeMessage } from "@iommu-lab/interrupt-remap";
import { Access, compareAddresses, DeliveryMode, formatAddress, parseAddress, type FunctionAddress, type Interrupt, type InterruptEntry, type InterruptMessage, type IommuDomain, type IommuDriver, type IommuFault } from "@iommu-lab/pci-bus";
import { computeIsolationGroups, factsOfModel, kernelVersion, type IsolationGroup } from "@iommu-lab/pci-bus/groups";
import { SriovControl, type Attachment } from "@iommu-lab/pci-bus/model";
import type { VfioKernel } from "@iommu-lab/vfio";
import { DmaDevice, MSI_WINDOW, type DmaDeviceOptions, type ReservedIova } from "@iommu-lab/vfio/dma";
import { VgaArbiter, vgaDevicesOf } from "@iommu-lab/vga-arbiter";
import type { HostVector, InterruptHandler } from "./host-processors.ts";
import { kernelOptions, type KernelOptions } from "./kernel-options.ts";
import type { Machine } from "./machine.ts";
import { hostVfio } from "./host-drivers.ts";
import { bridgesAbove } from "./topology.ts";
import { isIntegratedGraphics } from "./vga-function.ts";

/** An IOMMU group of the host. */
export interface HostGroup extends IsolationGroup {
  readonly id: number;
}

/** An interrupt that the kernel gave to a function. */
export interface HostInterrupt {
  /** What the device is to be programmed with. */
  readonly message: Readonly<InterruptMessage>;
  /** Undefined where interrupts are not remapped. */
  readonly entry: InterruptEntry | undefined;
  readonly vector: HostVector;
  free(): void;
}

const ACS_ENABLE = 0x1d;
const ACS_CONTROL = 6;
const ACS_CAPABILITY = 4;
const ATS_CONTROL = 6;
const [SRIOV_CONTROL, SRIOV_TOTAL, SRIOV_COUNT] = [0x08, 0x0e, 0x10];
const ATS_ENABLE = 0x8000;

/** The host's kernel: its IOMMU drivers, groups, default domains and interrupts, by the rules of its version and command line. */
export class HostKernel {
  readonly options: KernelOptions;
  /** Everything that the IOMMUs reported, in order. */
  readonly faults: IommuFault[] = [];
  /** What drivers complained of. */
  readonly problems: string[] = [];
  /** By address; empty where nothing is translated. */
  groups: readonly HostGroup[];
  readonly #machine: Machine;
  readonly #drivers: ReadonlyMap<number, IommuDriver>;
  readonly #defaults = new Map<string, IommuDomain>();
  #vfio: VfioKernel | undefined;
  readonly #dmaDevices = new Map<IommuDomain, DmaDevice>();
  #vga: VgaArbiter | undefined;

  /** Starts the drivers and makes the groups; the machine's firmware has run. */
  constructor(machine: Machine) {
    this.#machine = machine;
    this.options = kernelOptions(machine.description);
    if (this.options.translation) {
      this.#enableAcs();
      if (this.options.ats) this.#enableDeviceTlbs();
    }
    this.#drivers = this.options.translation || this.#remapsAlone ? machine.makeDrivers(this.#remaps) : new Map<number, IommuDriver>();
    for (const driver of this.#drivers.values())
      driver.start({
        fault: (fault) => {
          this.faults.push(fault);
          machine.watch?.fault?.(fault);
        },
        problem: (text) => this.problems.push(text),
      });
    this.groups = this.options.translation ? this.#makeGroups() : [];
    if (this.options.translation) this.#attachDefaults();
    else this.#letThrough();
  }

  /** The IOMMU driver that serves a function; undefined where nothing is translated. */
  driverOf(address: FunctionAddress): IommuDriver | undefined {
    return this.#machine.unitOf(address) ? this.#drivers.get(address.domain) : undefined;
  }

  /** The group of a function; undefined without translation. */
  groupOf(address: FunctionAddress): HostGroup | undefined {
    return this.groups.find(({ members }) => members.some((each) => compareAddresses(each, address) === 0));
  }

  /** The domain that the kernel gave to a function's group: DMA or identity. */
  defaultDomainOf(address: FunctionAddress): IommuDomain | undefined {
    return this.#defaults.get(formatAddress(address));
  }

  /** /dev/vfio of this machine, for its segment with an IOMMU. @throws Error where nothing is translated: no groups, no assignment */
  get vfio(): VfioKernel {
    this.#vfio ??= hostVfio(this.#machine, this);
    if (!this.#vfio) throw new Error("This machine's kernel made no IOMMU groups: there is no /dev/vfio.");
    return this.#vfio;
  }

  /** An INTx wire changed its level. For the machine. */
  interruptWire(): void {
    this.#vfio?.interruptWire();
  }

  /** Interrupts are remapped. */
  get remapsInterrupts(): boolean {
    return this.#remaps && this.#drivers.size > 0;
  }

  /** Whether interrupts of a function are remapped. */
  remapsInterruptsOf(address: FunctionAddress): boolean {
    return this.#remaps && this.driverOf(address) !== undefined;
  }

  /** The VGA arbiter, with the displays as they are when it is first asked for: after firmware has started them. */
  get vga(): VgaArbiter {
    return (this.#vga ??= this.#makeArbiter());
  }

  /** Reads what the IOMMUs have logged since the last time. */
  service(): void {
    for (const driver of this.#drivers.values()) driver.service();
  }

  /**
   * A function's DMA API, with the mode that the command line asks for. Functions of one group share one: the domain is the group's.
   * @param options what the driver sets: its mask, bounce buffers, another mode
   */
  dmaDevice(address: FunctionAddress, options: Partial<DmaDeviceOptions> = {}): DmaDevice {
    const domain = this.defaultDomainOf(address);
    const known = domain && this.#dmaDevices.get(domain);
    if (known) return known;
    const machine = this.#machine;
    const paging = domain?.kind === "paging" ? domain : undefined;
    const device = new DmaDevice({ reserved: this.reservedRegionsOf(address), mode: paging ? (this.options.strict ? "strict" : "lazy") : "identity", memory: machine.memory, clock: machine.clock, frames: machine.frames, ...(paging ? { domain: paging } : {}), ...options });
    if (paging) this.#dmaDevices.set(paging, device);
    return device;
  }

  /** Gives a function an interrupt that ends in a handler on a processor. */
  requestInterrupt(address: FunctionAddress, handler: InterruptHandler, processor = 0): HostInterrupt {
    const { processors } = this.#machine;
    const vector = processors.allocate(processor, handler);
    const interrupt: Interrupt = { vector: vector.vector, deliveryMode: DeliveryMode.Fixed, destination: processor, destinationMode: "physical", trigger: "edge", redirectionHint: false };
    const entry = this.remapsInterruptsOf(address) ? this.driverOf(address)?.allocateInterrupt(address.requester, interrupt) : undefined;
    const message: InterruptMessage = { requester: address.requester, address: 0, data: 0 };
    if (!entry) encodeMessage(interrupt, message);
    return {
      message: entry?.message ?? message,
      entry,
      vector,
      free: () => {
        entry?.free();
        processors.free(vector);
      },
    };
  }

  get #remaps(): boolean {
    return this.options.interruptRemapping && this.#machine.description.iommus.some(({ interruptRemapping }) => interruptRemapping !== false) && this.#machine.description.firmware.iommu !== false;
  }

  #makeArbiter(): VgaArbiter {
    const { kernel, firmware } = this.#machine.description;
    const arbiter = new VgaArbiter({ kernel: kernel.version, framebuffer: firmware.frameBuffer, changed: (changed) => { this.#machine.watch?.vga?.(changed); } });
    arbiter.scan(vgaDevicesOf(this.#machine.complex, ({ fn, bus }) => ({ isIntegrated: isIntegratedGraphics(fn.config.read(0, 2), bus.bridge !== undefined) })));
    return arbiter;
  }

  /** Intel's units remap interrupts also where `intel_iommu=off` leaves DMA alone; AMD's do nothing then. */
  get #remapsAlone(): boolean {
    return this.#remaps && this.#machine.description.iommus[0]?.vendor === "intel";
  }

  /** Model: the driver's units have translation on; what the kernel does not want translated gets an identity domain. */
  #letThrough(): void {
    for (const [segment, driver] of this.#drivers) {
      const identity = driver.createDomain({ kind: "identity" });
      for (const { seat } of this.#machine.placed) if (seat.address.domain === segment && this.driverOf(seat.address)) this.attach(seat.address, identity);
    }
  }

  /** Every port that can redirects peers' requests to the root complex. Linux pci_enable_acs(). */
  #enableAcs(): void {
    for (const { seat } of this.#machine.placed) {
      const at = seat.places.acs;
      if (!at) continue;
      const { config } = seat.fn;
      config.write(at + ACS_CONTROL, 2, config.read(at + ACS_CONTROL, 2) | (config.read(at + ACS_CAPABILITY, 2) & ACS_ENABLE));
    }
  }

  /** Functions may cache translations. Linux pci_enable_ats(). */
  #enableDeviceTlbs(): void {
    for (const { seat } of this.#machine.placed) {
      const at = seat.places.ats;
      if (at && this.#machine.unitOf(seat.address)) seat.fn.config.write(at + ATS_CONTROL, 2, ATS_ENABLE);
    }
  }

  #makeGroups(): HostGroup[] {
    const machine = this.#machine;
    const [major, minor] = this.options.version;
    const facts = factsOfModel(machine.complex, (address) => machine.unitOf(address) !== undefined);
    return computeIsolationGroups(facts, { kernel: kernelVersion(major, minor), ivrs: machine.description.iommus[0]?.vendor === "amd" }).groups.map((group, id) => ({ ...group, id }));
  }

  /** One domain for each group; bridges need none, but their requester IDs stand for what is behind them. */
  #attachDefaults(groups: readonly HostGroup[] = this.groups): void {
    for (const group of groups) {
      const first = group.members[0];
      const driver = first && this.driverOf(first);
      if (!driver) continue;
      const domain = driver.createDomain(this.options.passthrough ? { kind: "identity" } : { kind: "paging" });
      if (domain.kind === "paging") for (const { base, last } of this.#reservedFor(group.members)) domain.map(base, base, last - base + 1, Access.Read | Access.Write);
      for (const address of group.members) this.attach(address, domain);
    }
  }

  /** Memory that firmware's devices go on using: mapped one to one, whole pages. VT-d §8.4, AMD-Vi §5.2.3. */
  reservedRegionsOf(address: FunctionAddress): ReservedIova[] {
    return [MSI_WINDOW, ...this.#reservedFor([address]).map(({ base, last }): ReservedIova => ({ start: base, size: last - base + 1, kind: "direct" }))];
  }

  #reservedFor(members: readonly FunctionAddress[]): { readonly base: number; readonly last: number }[] {
    const names = new Set(members.map(formatAddress));
    return (this.#machine.description.reserved ?? [])
      .filter(({ functions }) => functions.some((text) => names.has(canonicalAddress(text))))
      .map(({ base, last }) => ({ base: base - (base % PAGE_SIZE), last: Math.ceil((last + 1) / PAGE_SIZE) * PAGE_SIZE - 1 }));
  }

  /**
   * Brings virtual functions of a function up: /sys/bus/pci/devices/…/sriov_numvfs. They get groups and domains as any new function does.
   * @throws RangeError when it has no SR-IOV, or has fewer
   */
  enableVirtualFunctions(address: FunctionAddress, count: number): FunctionAddress[] {
    const seat = this.#machine.complex.find(address);
    const at = seat?.places.sriov ?? 0;
    if (!seat || at === 0) throw new RangeError(`${formatAddress(address)} has no virtual functions.`);
    const { config } = seat.fn;
    const total = config.read(at + SRIOV_TOTAL, 2);
    if (!Number.isInteger(count) || count < 1 || count > total) throw new RangeError(`${formatAddress(address)} has ${total} virtual functions, not ${count}.`);
    config.write(at + SRIOV_COUNT, 2, count);
    config.write(at + SRIOV_CONTROL, 2, config.read(at + SRIOV_CONTROL, 2) | SriovControl.VfEnable | SriovControl.MemorySpace);
    if (this.options.translation) this.#addGroups();
    return seat.virtual.map((each) => each.address);
  }

  /** Functions that came later: what there is of groups stays as it is. */
  #addGroups(): void {
    const known = this.groups;
    const isNew = ({ members }: HostGroup): boolean => members.every((address) => this.groupOf(address) === undefined);
    const added = this.#makeGroups().filter(isNew).map((group, i) => ({ ...group, id: known.length + i }));
    this.groups = [...known, ...added];
    this.#attachDefaults(added);
  }

  /** Attaches a function, and the aliases its requests may carry, to a domain. */
  attach(address: FunctionAddress, domain: IommuDomain): void {
    const driver = this.driverOf(address);
    if (!driver) return;
    driver.attach(address.requester, domain);
    for (const alias of this.#aliasesOf(address)) driver.attach(alias, domain);
    this.#defaults.set(formatAddress(address), this.#defaults.get(formatAddress(address)) ?? domain);
  }

  /** Requester IDs that bridges to conventional PCI put in place of a function's own. PCIe-to-PCI Bridge §2.3. */
  #aliasesOf(address: FunctionAddress): number[] {
    const seat = this.#machine.complex.find(address);
    return seat ? bridgesAbove(seat).flatMap((bridge) => aliasBehind(bridge)) : [];
  }
}

const canonicalAddress = (text: string): string => {
  const address = parseAddress(text);
  return address ? formatAddress(address) : text;
};

/** A bridge from PCI Express takes the place of what is behind it with function 0 of its secondary bus, one from conventional PCI with itself. */
const aliasBehind = ({ fn, requester }: Attachment): number[] => (fn.bridgeKind === "pcie-to-pci" ? [(fn.secondary?.number ?? 0) << 8] : fn.bridgeKind === "pci-to-pci" ? [requester] : []);
