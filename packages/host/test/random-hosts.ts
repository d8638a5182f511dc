/** Random hosts of realistic shapes: ports, switches, bridges to conventional PCI, multifunction devices, ACS of every kind. */
import { PcieType } from "@iommu-lab/pci-bus/capabilities";
import fc from "fast-check";
import type { BuiltFunction, BuiltHost } from "../src/bundled/build-host.ts";
import { bridge, endpoint, hostOf, type Made, type MadeAcs } from "./made-hosts.ts";

type Acs = "none" | "on" | "off" | "partly" | "empty";

interface Device {
  readonly kind: "device";
  readonly functions: readonly { readonly acs: Acs; readonly conventional: boolean; readonly who: number }[];
}
interface Switch {
  readonly kind: "switch";
  readonly ports: readonly { readonly acs: Acs; readonly below: Device | undefined }[];
}
interface Conventional {
  readonly kind: "conventional";
  readonly express: boolean;
  readonly devices: readonly Device[];
}
type Below = Device | Switch | Conventional | undefined;
interface Port {
  readonly kind: "ports";
  readonly functions: readonly { readonly acs: Acs; readonly below: Below }[];
}

const acsKind = fc.constantFrom<Acs>("none", "on", "off", "partly", "empty");
/** Vendor, device and class: some with a rule of their own, some without. */
const WHO = [[0x144d, 0xa804, 0x010802], [0x10de, 0x1402, 0x030000], [0x8086, 0x10c9, 0x020000], [0x1b4b, 0x9230, 0x010601], [0x8086, 0xa0a3, 0x0c0500], [0x1022, 0x145c, 0x0c0330]] as const;

const device: fc.Arbitrary<Device> = fc.record({ kind: fc.constant("device" as const), functions: fc.array(fc.record({ acs: acsKind, conventional: fc.boolean(), who: fc.nat(WHO.length - 1) }), { minLength: 1, maxLength: 3 }) });
const below: fc.Arbitrary<Below> = fc.oneof(
  { weight: 3, arbitrary: device },
  { weight: 1, arbitrary: fc.constant(undefined) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("switch" as const), ports: fc.array(fc.record({ acs: acsKind, below: fc.option(device, { nil: undefined }) }), { minLength: 1, maxLength: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("conventional" as const), express: fc.boolean(), devices: fc.array(device, { minLength: 1, maxLength: 2 }) }) },
);
const ports: fc.Arbitrary<Port> = fc.record({ kind: fc.constant("ports" as const), functions: fc.array(fc.record({ acs: acsKind, below }), { minLength: 1, maxLength: 3 }) });

const hex2 = (value: number): string => value.toString(16).padStart(2, "0");

/** Lays a host out: numbers buses, says which functions share a slot. */
class Layout {
  #nextBus = 1;
  readonly #on: boolean;

  /** @param on whether a kernel had asked for ACS */
  constructor(on: boolean) {
    this.#on = on;
  }

  #acs(kind: Acs): MadeAcs | undefined {
    if (kind === "none") return undefined;
    if (kind === "empty") return { capability: 0, control: 0 };
    return { capability: kind === "partly" ? 0x0d : 0x1f, control: this.#on && kind !== "off" ? (kind === "partly" ? 0x09 : 0x1d) : 0 };
  }

  #at(bus: number, slot: number, fn: number): string {
    return `0000:${hex2(bus)}:${hex2(slot)}.${fn}`;
  }

  device(bus: number, slot: number, { functions }: Device, root = false): BuiltFunction[] {
    return functions.map(({ acs, conventional, who }, fn): BuiltFunction => {
      const [vendor, id, classCode] = WHO[who] ?? WHO[0];
      const own: Made = conventional ? { type: "conventional" } : { type: root ? PcieType.RootComplexIntegratedEndpoint : PcieType.Endpoint, acs: this.#acs(acs) };
      return endpoint(this.#at(bus, slot, fn), { ...own, vendor, device: id, classCode, multifunction: functions.length > 1 });
    });
  }

  #below(bus: number, what: Below): BuiltFunction[] {
    if (what === undefined) return [];
    if (what.kind === "device") return this.device(bus, 0, what);
    const inner = this.#nextBus++;
    if (what.kind === "conventional") {
      const below = what.devices.flatMap((d, slot) => this.device(inner, slot, { kind: "device", functions: d.functions.map((f) => ({ ...f, conventional: true })) }));
      return [bridge(this.#at(bus, 0, 0), inner, { type: what.express ? PcieType.PcieToPciBridge : "conventional", vendor: 0x1b21, device: 0x1080, below })];
    }
    const downstream = what.ports.map(({ acs, below }, slot) => this.#port(inner, slot, 0, PcieType.DownstreamPort, acs, below, false));
    return [bridge(this.#at(bus, 0, 0), inner, { type: PcieType.UpstreamPort, vendor: 0x10b5, device: 0x8724, subordinateBus: this.#nextBus - 1, below: downstream })];
  }

  #port(bus: number, slot: number, fn: number, type: PcieType, acs: Acs, what: Below, multifunction: boolean): BuiltFunction {
    const secondary = this.#nextBus++;
    const below = this.#below(secondary, what);
    return bridge(this.#at(bus, slot, fn), secondary, { type, acs: this.#acs(acs), multifunction, subordinateBus: this.#nextBus - 1, below });
  }

  slot(slot: number, what: Device | Port): BuiltFunction[] {
    if (what.kind === "device") return this.device(0, slot, what, true);
    return what.functions.map(({ acs, below }, fn) => this.#port(0, slot, fn, PcieType.RootPort, acs, below, what.functions.length > 1));
  }
}

const usesAcs = (host: BuiltHost): boolean => {
  const any = (functions: readonly BuiltFunction[]): boolean => functions.some((f) => (f.capabilities ?? []).some(({ id, extended, bytes }) => extended && id === 0x0d && ((bytes[6] ?? 0) & 0x1d) !== 0) || any(f.below ?? []));
  return any(host.functions);
};

/**
 * A random host. Its kernel log says that the IOMMU is on exactly when an ACS control word shows it, so that a text
 * without the log says as much as the files.
 */
export const randomHost: fc.Arbitrary<BuiltHost> = fc.record({ on: fc.boolean(), slots: fc.array(fc.oneof(device, ports), { minLength: 1, maxLength: 5 }) }).map(({ on, slots }) => {
  const layout = new Layout(on);
  const host = hostOf(slots.flatMap((what, i) => layout.slot(i + 1, what)));
  const made = usesAcs(host) ? { ...host, dmesg: ["[    0.1] DMAR: Intel(R) Virtualization Technology for Directed I/O"] } : host;
  // A counterexample is printed as its plan, not as kilobytes of capabilities.
  return Object.defineProperty(made, fc.toStringMethod, { enumerable: false, value: () => JSON.stringify({ on, slots }) });
});
