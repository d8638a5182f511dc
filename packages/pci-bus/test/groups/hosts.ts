import { parseAddress, type FunctionAddress } from "../../src/index.ts";
import { ISOLATION_BITS, PcieType, type FunctionFacts } from "../../src/groups/index.ts";

export const address = (text: string): FunctionAddress => {
  const parsed = parseAddress(text);
  if (!parsed) throw new RangeError(text);
  return parsed;
};

/** A function of a test host; conventional, single, on a root bus and translated unless said otherwise. */
export const fn = (text: string, more: Partial<Omit<FunctionFacts, "address" | "parent">> & { parent?: string } = {}): FunctionFacts => {
  const { parent, ...rest } = more;
  return {
    address: address(text),
    vendor: 0x1234,
    device: 0x1111,
    multifunction: (address(text).requester & 7) > 0,
    bridge: false,
    portType: "none",
    acs: "none",
    translated: true,
    parent: parent === undefined ? undefined : address(parent),
    ...rest,
  };
};

export const acs = (capability: number = ISOLATION_BITS, control: number = capability): FunctionFacts["acs"] => ({ offset: 0x100, capability, control });

export const port = (text: string, portType: number, more: Parameters<typeof fn>[1] = {}): FunctionFacts => fn(text, { bridge: true, portType, expressOffset: 0x40, ...more });
export const rootPort = (text: string, more: Parameters<typeof fn>[1] = {}): FunctionFacts => port(text, PcieType.RootPort, more);
export const endpoint = (text: string, parent: string | undefined, more: Parameters<typeof fn>[1] = {}): FunctionFacts => fn(text, { portType: PcieType.Endpoint, expressOffset: 0x40, ...(parent === undefined ? {} : { parent }), ...more });
