import type { DmarContents } from "./diagnose.ts";
import { diagnosis, type Diagnosis } from "./diagnosis.ts";
import { DEVICE_SCOPE } from "./layouts.ts";
import type { Andd, Atsr, DmarScope, DmarStructure, Drhd, Rmrr, Satc, Sidp } from "./table.ts";

type Scoped = Drhd | Rmrr | Atsr | Satc | Sidp;

const isScoped = (s: DmarStructure): s is Scoped => "scopes" in s;

/** Scope types that mean something in each structure. VT-d §8.3 to §8.9. */
const MEANINGFUL: Readonly<Record<Scoped["name"], readonly number[]>> = { DRHD: [1, 2, 3, 4, 5], RMRR: [1, 2, 5], ATSR: [2], SATC: [1, 2], SIDP: [1, 2] };
const NAMESPACE_DEVICE = 5;

const typeName = (type: number): string => DEVICE_SCOPE.fields.TYPE.values?.[type] ?? `type ${type}`;

const diagnoseScope = (owner: Scoped, scope: DmarScope, declared: ReadonlySet<number>): Diagnosis[] => {
  const found: Diagnosis[] = [];
  const { type, offset, path, enumerationId } = scope;
  if (type < 1 || type > 5) found.push(diagnosis("scope-type-unknown", offset, `The device scope has type ${type}.`));
  else if (!MEANINGFUL[owner.name].includes(type)) found.push(diagnosis("scope-type-misplaced", offset, `The ${owner.name} has a device scope for a ${typeName(type)}.`));
  if (path.length === 0) found.push(diagnosis("scope-path-empty", offset + 1, `The device scope (${typeName(type)}) has no path.`));
  const wrong = path.findIndex((step) => step.device > 31 || step.function > 7);
  const step = path[wrong];
  if (step) found.push(diagnosis("scope-path-impossible", offset + 6 + 2 * wrong, `The device scope's path names device ${step.device}, function ${step.function}.`));
  if (type === NAMESPACE_DEVICE && !declared.has(enumerationId)) found.push(diagnosis("scope-namespace-undeclared", offset + 4, `The device scope names ACPI device ${enumerationId}, for which the table has no ANDD.`));
  return found;
};

const NAME = /^\\[A-Z_][0-9A-Z_]{0,3}(?:\.[A-Z_][0-9A-Z_]{0,3})*$/;

const diagnoseDevices = (declarations: readonly Andd[], named: ReadonlySet<number>): Diagnosis[] => {
  const seen = new Set<number>();
  return declarations.flatMap(({ deviceNumber, objectName, offset }) => {
    const found: Diagnosis[] = [];
    if (!NAME.test(objectName)) found.push(diagnosis("andd-name-malformed", offset + 8, `The object name ${JSON.stringify(objectName)} is no absolute path of four-character names.`));
    if (seen.has(deviceNumber)) found.push(diagnosis("andd-number-repeated", offset + 7, `ACPI device ${deviceNumber} is declared already.`));
    else if (!named.has(deviceNumber)) found.push(diagnosis("andd-unused", offset + 7, `ACPI device ${deviceNumber} (${JSON.stringify(objectName)}) is declared, but in no unit's scope.`));
    seen.add(deviceNumber);
    return found;
  });
};

const diagnoseEmpty = (s: Scoped): Diagnosis[] => {
  if (s.name === "ATSR" && s.allPorts) return s.scopes.length > 0 ? [diagnosis("atsr-scope-superfluous", s.offset + 8, `The ATSR means all ports of segment ${s.segment} and names single ones.`)] : [];
  if (s.scopes.length > 0) return [];
  if (s.name === "ATSR") return [diagnosis("atsr-serves-nothing", s.offset, "The ATSR has neither ALL_PORTS nor a device scope.")];
  return s.name === "SATC" || s.name === "SIDP" ? [diagnosis("satc-serves-nothing", s.offset, `The ${s.name} has no device scope.`)] : [];
};

/** What is wrong with device scopes, and with the structures that consist of them. */
export const diagnoseScopes = ({ structures }: DmarContents): Diagnosis[] => {
  const scoped = structures.filter(isScoped);
  const declarations = structures.filter((s): s is Andd => s.name === "ANDD");
  const declared = new Set(declarations.map(({ deviceNumber }) => deviceNumber));
  const named = new Set(scoped.flatMap((s) => (s.name === "DRHD" ? s.scopes.filter(({ type }) => type === NAMESPACE_DEVICE).map(({ enumerationId }) => enumerationId) : [])));
  const segments = new Set(scoped.flatMap((s) => (s.name === "DRHD" ? [s.segment] : [])));
  return [
    ...scoped.flatMap((s) => [
      ...s.scopes.flatMap((scope) => diagnoseScope(s, scope, declared)),
      ...diagnoseEmpty(s),
      ...(segments.has(s.segment) ? [] : [diagnosis("segment-without-drhd", s.offset + 6, `The ${s.name} is for segment ${s.segment}.`)]),
    ]),
    ...diagnoseDevices(declarations, named),
  ];
};
