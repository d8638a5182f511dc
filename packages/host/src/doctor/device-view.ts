import { busOf, deviceOf, formatAddress } from "@iommu-lab/pci-bus";
import { findCapability, findExtendedCapability } from "@iommu-lab/pci-bus/capabilities";
import type { HostFunction, RecordedGroup } from "../snapshot.ts";
import type { HostView } from "./host-view.ts";

const key = (f: HostFunction): string => formatAddress(f.address);

/** Whether the kernel passes it over when it asks whether a group can be assigned: header type 1 or 2. */
export const isBridge = (f: HostFunction): boolean => (f.config && f.config.length > 14 && ((f.config[14] as number) & 0x7f) !== 0x7f ? ((f.config[14] as number) & 0x7f) !== 0 : (f.classCode ?? 0) >>> 8 === 0x0604 || f.printed?.buses !== undefined);

const VFIO = /^(?:vfio-pci|vfio_pci|pci-stub|pci_stub|[\w-]+[-_]vfio[-_]pci|vfio[-_]pci[-_][\w-]+)$/;

/** Drivers that leave a function to VFIO. */
export const isVfioDriver = (driver: string): boolean => VFIO.test(driver);

/** One function that is to be assigned, among those assigned with it. */
export class DeviceView {
  readonly fn: HostFunction;
  readonly name: string;
  /** Addresses of all functions that go to the same VM. */
  readonly selected: ReadonlySet<string>;
  readonly #host: HostView;

  constructor(host: HostView, fn: HostFunction, selected: ReadonlySet<string>) {
    this.#host = host;
    this.fn = fn;
    this.name = key(fn);
    this.selected = selected;
  }

  /** Class and subclass, 16 bits; 0 when unknown. */
  get class(): number {
    return (this.fn.classCode ?? 0) >>> 8;
  }

  get isDisplay(): boolean {
    return this.class >>> 8 === 0x03;
  }

  /** Integrated Intel graphics. */
  get isIgd(): boolean {
    return this.isDisplay && this.fn.vendor === 0x8086 && this.name === "0000:00:02.0";
  }

  /** vendor and device in one number; undefined when one is not known. */
  get id(): number | undefined {
    return this.fn.vendor === undefined || this.fn.device === undefined ? undefined : this.fn.vendor * 0x10000 + this.fn.device;
  }

  /** Other functions of the same slot. */
  get slotSiblings(): readonly HostFunction[] {
    const { address } = this.fn;
    return this.#host.snapshot.functions.filter((f) => f !== this.fn && f.address.domain === address.domain && busOf(f.address.requester) === busOf(address.requester) && deviceOf(f.address.requester) === deviceOf(address.requester) && !f.physicalFunction);
  }

  /** Other functions of the same bus. */
  get busSiblings(): readonly HostFunction[] {
    const { address } = this.fn;
    return this.#host.snapshot.functions.filter((f) => f !== this.fn && f.address.domain === address.domain && busOf(f.address.requester) === busOf(address.requester));
  }

  get recordedGroup(): RecordedGroup | undefined {
    return this.fn.group === undefined ? undefined : this.#host.snapshot.groups?.get(this.fn.group);
  }

  /** The other members of its group: the kernel's, else computed; undefined when that cannot be told. */
  get groupSiblings(): { readonly members: readonly HostFunction[]; readonly computed: boolean } | undefined {
    if (this.fn.group !== undefined) return { computed: false, members: this.#host.snapshot.functions.filter((f) => f !== this.fn && f.group === this.fn.group) };
    const { groups, mode } = this.#host.groups;
    if (mode === "recorded") return undefined;
    const group = groups.find(({ devices }) => devices.some((address) => formatAddress(address) === this.name));
    if (!group) return undefined;
    return { computed: true, members: group.devices.flatMap((address) => this.#host.at(address) ?? []).filter((f) => f !== this.fn) };
  }

  isSelected(f: HostFunction): boolean {
    return this.selected.has(key(f));
  }

  /** Whether the source shows drivers at all: a text without -v or -k does not. */
  showsDriver(f: HostFunction): boolean {
    return this.#host.snapshot.kind === "sysfs" || f.driver !== undefined || (f.printed !== undefined && (f.printed.capabilitiesShown !== "not-shown" || f.printed.modules !== undefined));
  }

  /** Offset of a capability; 0 when it is not there; undefined when that was not seen. */
  capability(id: number): number | undefined {
    const { config, printed } = this.fn;
    if (config && config.length >= 256) return findCapability(config, id);
    if (printed?.capabilitiesShown !== "yes") return undefined;
    const names: Readonly<Record<number, RegExp>> = { 0x05: /^MSI:/, 0x11: /^MSI-X:/, 0x10: /^Express/, 0x13: /^PCI Advanced Features/, 0x01: /^Power Management/ };
    return printed.capabilities.find(({ title }) => names[id]?.test(title) ?? false)?.offset ?? 0;
  }

  /** Offset of an extended capability; as `capability`. */
  extended(id: number, printedName: RegExp): number | undefined {
    const { config, printed } = this.fn;
    if (config && config.length >= 4096) return findExtendedCapability(config, id);
    // A kernel that offers 256 bytes of a function cannot reach the rest itself.
    if (config?.length === 256 && this.#host.snapshot.kind === "sysfs") return 0;
    if (printed?.capabilitiesShown !== "yes") return undefined;
    return printed.capabilities.find(({ offset, title }) => offset >= 0x100 && printedName.test(title))?.offset ?? 0;
  }

  /** A pattern for log lines about this function: its address, then `rest`. */
  logPattern(rest: string): RegExp {
    const short = this.fn.address.domain === 0 ? `(?:0000:)?${this.name.slice(5)}` : this.name;
    return new RegExp(`${short.replaceAll(".", "\\.")}\\b.*(?:${rest})`, "i");
  }
}
