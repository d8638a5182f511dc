import fc from "fast-check";
import { formatAddress, requesterId, type FunctionAddress } from "../../src/index.ts";
import { PcieType, type FunctionFacts } from "../../src/groups/index.ts";

/** Ids with rules behind them, near misses, and one that nothing knows. */
const IDS: readonly (readonly [number, number])[] = [
  [0x1234, 0x1111], [0x8086, 0x1e10], [0x8086, 0xa110], [0x8086, 0x10fb], [0x1b4b, 0x9230], [0x1180, 0xe832], [0x10b5, 0x87b0], [0x1a03, 0x1150], [0x1002, 0x4385], [0x1d17, 0x0710], [0x8088, 0x0100], [0x8088, 0x9999], [0x14e4, 0x9000],
];

const PORT_TYPES = [PcieType.RootPort, PcieType.UpstreamPort, PcieType.DownstreamPort, PcieType.PcieToPciBridge, "none"] as const;
const ENDPOINT_TYPES = [PcieType.Endpoint, PcieType.LegacyEndpoint, PcieType.RootComplexIntegratedEndpoint, "none"] as const;

/** A random tree of buses with bridges and functions, every kind of ACS on them. Not all could be built; the rules must hold all the same. */
export const randomHost: fc.Arbitrary<FunctionFacts[]> = fc
  .array(
    fc.record({
      bus: fc.nat(6),
      device: fc.nat(2),
      fn: fc.nat(3),
      bridge: fc.boolean(),
      type: fc.nat(4),
      id: fc.nat(IDS.length - 1),
      acs: fc.oneof(fc.constant("none" as const), fc.record({ offset: fc.constant(0x100), capability: fc.constantFrom(0x1d, 0x0f, 0x1f, 0, 1), control: fc.constantFrom(0x1d, 0x1f, 0, 1) })),
      multifunction: fc.boolean(),
      translated: fc.boolean().map((on) => on || true),
      pchQuirk: fc.constantFrom("enabled" as const, "failed" as const),
      aliases: fc.oneof({ weight: 9, arbitrary: fc.constant([] as number[]) }, { weight: 1, arbitrary: fc.array(fc.nat(31), { maxLength: 2 }) }),
    }),
    { minLength: 1, maxLength: 24 },
  )
  .map((drafts) => {
    const taken = new Map<string, FunctionFacts>();
    const bridges: (FunctionAddress | undefined)[] = [undefined];
    for (const draft of drafts) {
      // Bus n lies below the n-th bridge made so far.
      const bus = draft.bus % bridges.length;
      const address = { domain: 0, requester: requesterId(bus, draft.device, draft.fn) };
      if (taken.has(formatAddress(address))) continue;
      const [vendor, device] = IDS[draft.id] as readonly [number, number];
      const portType = draft.bridge ? PORT_TYPES[draft.type % PORT_TYPES.length] : ENDPOINT_TYPES[draft.type % ENDPOINT_TYPES.length];
      const acs = draft.acs === "none" || portType === "none" ? "none" : { ...draft.acs, wide: { capability: draft.acs.capability, control: draft.acs.control } };
      taken.set(formatAddress(address), {
        address, vendor, device, bridge: draft.bridge, parent: bridges[bus], portType: portType ?? "none", acs, multifunction: draft.multifunction || draft.fn > 0, translated: draft.translated, pchQuirk: draft.pchQuirk, aliases: draft.aliases, classCode: 0x020000,
      });
      if (draft.bridge && bridges.length < 7) bridges.push(address);
    }
    return [...taken.values()];
  });
