/** Holds everything lspci says of one function against `decodeConfig` of the same bytes. */
import { decodeConfig, type DecodedCapability } from "../../src/capabilities/index.ts";
import * as conventional from "./lspci-conventional.ts";
import type { CapabilityRules } from "./lspci-conventional.ts";
import { PCI_EXPRESS } from "./lspci-express.ts";
import { EXTENDED } from "./lspci-extended.ts";
import { explainRegion, headerReader, headerRules, TITLE, type Origin } from "./lspci-header.ts";
import { explain, readerOf } from "./lspci-rules.ts";
import type { LspciCapability, LspciFunction } from "./lspci-text.ts";

const CONVENTIONAL: Readonly<Record<number, CapabilityRules>> = {
  0x01: conventional.POWER_MANAGEMENT,
  0x04: conventional.SLOT_IDENTIFICATION,
  0x05: conventional.MSI,
  0x08: conventional.HYPERTRANSPORT,
  0x09: conventional.VENDOR_SPECIFIC,
  0x0c: { heading: { label: /^Hot-plug capable$/, parts: [] }, statements: [] },
  0x0d: conventional.BRIDGE_SUBSYSTEM,
  0x0f: conventional.SECURE_DEVICE,
  0x10: PCI_EXPRESS,
  0x11: conventional.MSIX,
  0x12: conventional.SATA_INDEX_DATA,
  0x13: conventional.ADVANCED_FEATURES,
};

export interface Comparison {
  /** Fields that were compared. */
  compared: number;
  /** Fields compared by capability: "01" conventional, "0x01" extended, "header". */
  readonly byCapability: Map<string, number>;
  readonly problems: string[];
}

export const newComparison = (): Comparison => ({ compared: 0, byCapability: new Map(), problems: [] });

const count = (into: Comparison, key: string, compared: number): void => {
  into.compared += compared;
  into.byCapability.set(key, (into.byCapability.get(key) ?? 0) + compared);
};

const compareCapability = (printed: LspciCapability, decoded: DecodedCapability, where: string, into: Comparison): void => {
  const key = decoded.extended ? `0x${decoded.id.toString(16).padStart(2, "0")}` : decoded.id.toString(16).padStart(2, "0");
  const rules = decoded.extended ? EXTENDED[decoded.id] : CONVENTIONAL[decoded.id];
  if (!rules) {
    into.problems.push(`${where}: no rules for capability ${key} ("${printed.heading}")`);
    return;
  }
  if (decoded.version !== printed.version) into.problems.push(`${where}: version ${printed.version} is decoded as ${decoded.version}`);
  const read = readerOf(decoded);
  const numbered = printed.statements.map((statement, i) => (statement.startsWith("BAR ") && decoded.extended ? `#${i} ${statement}` : statement));
  for (const outcome of [explain(printed.heading, [rules.heading], read), ...numbered.map((statement) => explain(statement, rules.statements, read))]) {
    count(into, key, outcome.compared);
    into.problems.push(...outcome.problems.map((problem) => `${where} ${decoded.name}: ${problem}`));
  }
  // Id and place agree, and the version of extended ones.
  count(into, key, decoded.extended ? 3 : 2);
};

const compareHeader = (printed: LspciFunction, decoded: ReturnType<typeof decodeConfig>, origin: Origin, into: Comparison): void => {
  const read = headerReader(decoded.header);
  const rules = headerRules(origin);
  // A bridge's subsystem line repeats its capability.
  const own = printed.statements.filter((statement) => !(statement.startsWith("Subsystem: ") && decoded.header.type === 1));
  const regions = own.filter((statement) => statement.startsWith("Region "));
  // In a virtual function both IDs read as ones; a running kernel knows them from the physical function.
  const title = origin === "live" && decoded.header.vendor === 0xffff ? printed.title.replace(/\[[0-9a-f]{4}:[0-9a-f]{4}\]/, "[ffff:ffff]") : printed.title;
  const outcomes = [explain(title, [TITLE], read), ...own.filter((statement) => !regions.includes(statement)).map((statement) => explain(statement, rules, read)), ...regions.map((statement) => explainRegion(statement, decoded.header))];
  for (const outcome of outcomes) {
    count(into, "header", outcome.compared);
    into.problems.push(...outcome.problems.map((problem) => `${printed.address} header: ${problem}`));
  }
  for (const bar of decoded.header.bars) if (bar.address !== 0 && !regions.some((statement) => statement.startsWith(`Region ${bar.index}:`))) into.problems.push(`${printed.address} header: BAR ${bar.index} is decoded, but not printed`);
};

/** Compares one function and adds to `into`. */
export const compareFunction = (printed: LspciFunction, origin: Origin, into: Comparison): void => {
  const decoded = decodeConfig(printed.bytes);
  compareHeader(printed, decoded, origin, into);
  const places = (all: readonly { offset: number }[]): string => all.map(({ offset }) => offset.toString(16)).join(" ");
  if (places(printed.capabilities) !== places(decoded.capabilities)) {
    into.problems.push(`${printed.address}: lspci finds capabilities at ${places(printed.capabilities)}, decoded are ${places(decoded.capabilities)}`);
    return;
  }
  for (const [i, capability] of printed.capabilities.entries()) compareCapability(capability, decoded.capabilities[i]!, `${printed.address} [${capability.offset.toString(16)}]`, into);
  into.problems.push(...decoded.problems.map(({ text }) => `${printed.address}: ${text}`));
};
