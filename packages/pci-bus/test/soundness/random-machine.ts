import { Acs } from "@iommu-lab/pci-bus/model";
import fc from "fast-check";

/** A function's ACS: its capability register, what software leaves in the control register, and the first 32 bits of the egress vector; undefined without the capability. */
export type AcsChoice = { readonly capability: number; readonly control: number; readonly vector: number } | undefined;

/** What hangs below a port. */
export type Below =
  | { readonly kind: "device"; readonly functions: readonly AcsChoice[] }
  | { readonly kind: "virtualized"; readonly physical: AcsChoice; readonly virtual: AcsChoice; readonly count: number; readonly firstOffset: number }
  | { readonly kind: "switch"; readonly up: AcsChoice; readonly beside: readonly AcsChoice[]; readonly ports: readonly Port[] }
  | { readonly kind: "pci-bridge"; readonly devices: number; readonly nested: number };

/** A root port or downstream port. */
export interface Port {
  readonly acs: AcsChoice;
  readonly below: Below | undefined;
}

/** One device number of the root bus. */
export type Slot =
  | { readonly kind: "ports"; readonly ports: readonly Port[] }
  | { readonly kind: "device"; readonly functions: readonly AcsChoice[] }
  | { readonly kind: "pci-bridge"; readonly devices: number; readonly nested: number };

/** A machine by its slots, device 1 first. */
export type MachinePlan = readonly Slot[];

/** The capability of ports of PCIe 5.0; source validation does not exist in functions of endpoints. */
const PORT_CAPABILITY = 0x7f;
const FUNCTION_CAPABILITY = Acs.RequestRedirect | Acs.CompletionRedirect | Acs.EgressControl | Acs.DirectTranslated;
/** A root port that has no way to other root ports. */
const NO_PEERS = Acs.SourceValidation | Acs.TranslationBlocking;

/** What Linux switches on. */
const KERNEL = Acs.SourceValidation | Acs.RequestRedirect | Acs.CompletionRedirect | Acs.UpstreamForwarding;

const choice = (capability: number, control: number, vector = 0): AcsChoice => ({ capability, control: control & capability, vector });

/** Where the generator gets the ACS of its parts from. */
interface Sources {
  readonly rootPort: fc.Arbitrary<AcsChoice>;
  readonly downstreamPort: fc.Arbitrary<AcsChoice>;
  /** One for each function of a device, `count` of them. */
  readonly device: (count: number) => fc.Arbitrary<readonly AcsChoice[]>;
}

const deviceOf = (source: Sources, most: number): fc.Arbitrary<readonly AcsChoice[]> => fc.integer({ min: 1, max: most }).chain(source.device);

const pciBridge = fc.record({ kind: fc.constant("pci-bridge" as const), devices: fc.integer({ min: 1, max: 2 }), nested: fc.nat(1) });

const belowOf = (source: Sources, depth: number): fc.Arbitrary<Below> => {
  const leaves: fc.WeightedArbitrary<Below>[] = [
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("device" as const), functions: deviceOf(source, 3) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("virtualized" as const), functions: source.device(2), count: fc.integer({ min: 1, max: 2 }), firstOffset: fc.constantFrom(1, 0x100) }).map(({ functions: [physical, virtual], ...rest }) => ({ ...rest, physical, virtual })) },
    { weight: 1, arbitrary: pciBridge },
  ];
  if (depth === 0) return fc.oneof(...leaves);
  const port = fc.record({ acs: source.downstreamPort, below: fc.option(belowOf(source, depth - 1), { nil: undefined, freq: 5 }) });
  const inner = fc.record({ functions: deviceOf(source, 2), ports: fc.array(port, { minLength: 1, maxLength: 3 }) });
  return fc.oneof(...leaves, { weight: 4, arbitrary: inner.map(({ functions: [up, ...beside], ports }): Below => ({ kind: "switch", up, beside, ports })) });
};

const portsOf = (source: Sources): fc.Arbitrary<Slot> =>
  fc.record({ kind: fc.constant("ports" as const), ports: fc.array(fc.record({ acs: source.rootPort, below: fc.option(belowOf(source, 2), { nil: undefined, freq: 8 }) }), { minLength: 1, maxLength: 3 }) });

const slotOf = (source: Sources, ports: fc.Arbitrary<Slot>): fc.Arbitrary<Slot> =>
  fc.oneof({ weight: 6, arbitrary: ports }, { weight: 1, arbitrary: fc.record({ kind: fc.constant("device" as const), functions: deviceOf(source, 3) }) }, { weight: 1, arbitrary: pciBridge });

const anyPort: fc.Arbitrary<AcsChoice> = fc.oneof(
  { weight: 2, arbitrary: fc.constant(undefined) },
  { weight: 3, arbitrary: fc.constant(choice(PORT_CAPABILITY, KERNEL)) },
  { weight: 3, arbitrary: fc.tuple(fc.nat(0x7f), fc.nat(0xffff)).map(([control, vector]) => choice(PORT_CAPABILITY, control, vector)) },
);
const anyFunction: fc.Arbitrary<AcsChoice> = fc.oneof(
  fc.constant(undefined),
  fc.constant(choice(0, 0)),
  fc.constant(choice(FUNCTION_CAPABILITY, KERNEL)),
  fc.tuple(fc.nat(0x7f), fc.nat(0xff)).map(([control, vector]) => choice(FUNCTION_CAPABILITY, control, vector)),
);
const anything: Sources = {
  rootPort: fc.oneof({ weight: 7, arbitrary: anyPort }, { weight: 1, arbitrary: fc.constant(choice(NO_PEERS, Acs.SourceValidation)) }),
  downstreamPort: anyPort,
  device: (count) => fc.tuple(...Array.from({ length: count }, () => anyFunction)),
};

/** Machines whose every register was set without a plan. */
export const anyMachine: fc.Arbitrary<MachinePlan> = fc.array(slotOf(anything, portsOf(anything)), { minLength: 1, maxLength: 3 });

const isolatedPort = fc.constant(choice(PORT_CAPABILITY, KERNEL));
/** All functions of a device alike: without ACS, without a way to peers, or with the controls that the kernel sets. */
const likeEachOther = (count: number): fc.Arbitrary<readonly AcsChoice[]> => fc.constantFrom(undefined, choice(0, 0), choice(FUNCTION_CAPABILITY, KERNEL)).map((one) => Array.from({ length: count }, () => one));
const asTheKernelLeavesIt: Sources = { rootPort: fc.oneof({ weight: 3, arbitrary: isolatedPort }, { weight: 1, arbitrary: fc.constant(choice(NO_PEERS, Acs.SourceValidation)) }), downstreamPort: isolatedPort, device: likeEachOther };
const open: Sources = { ...anything, rootPort: fc.constantFrom(undefined, choice(PORT_CAPABILITY, 0), choice(PORT_CAPABILITY, KERNEL & ~Acs.RequestRedirect), choice(PORT_CAPABILITY, KERNEL & ~Acs.SourceValidation)) };

/**
 * Machines as hardware with ACS makes them under a kernel that switches it on: in a slot of root ports all ports isolate, down to the
 * last switch, and the functions of a device are alike; or none of the root ports does, and below them anything goes.
 */
export const orderlyMachine: fc.Arbitrary<MachinePlan> = fc.array(slotOf(asTheKernelLeavesIt, fc.oneof({ weight: 2, arbitrary: portsOf(asTheKernelLeavesIt) }, { weight: 1, arbitrary: portsOf(open) })), { minLength: 1, maxLength: 3 });
