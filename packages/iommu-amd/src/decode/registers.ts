import type { Register } from "@iommu-lab/memory/registers";
import { decodeBits, hex, type FieldValue, type Interpretation, type Told } from "@iommu-lab/pci-bus/decode";
import * as layouts from "../layouts/index.ts";
import { interpretEfr, interpretEfr2 } from "./features.ts";

const isRegister = (value: unknown): value is Register => typeof value === "object" && value !== null && "layout" in value && "reset" in value;

/** Every register there is a layout for, by name: EFR, CONTROL, STATUS, CMD_HEAD. */
export const REGISTERS: ReadonlyMap<string, Register> = new Map(
  (Object.values(layouts) as readonly unknown[])
    .flat(2)
    .filter(isRegister)
    .map((register) => [register.name, register]),
);

const sentence = ({ text, meaning, address, value, msb, lsb }: FieldValue): string => `${text}${msb === lsb && meaning === undefined ? "" : `: ${meaning ?? (address === undefined ? String(value) : hex(address))}`}.`;

/** What the bits that are set say: for status and control registers. */
const setBits = (fields: readonly FieldValue[]): string[] => fields.filter(({ value, address }) => (address === undefined ? Number(value) !== 0 : address !== 0n)).map(sentence);

const interpret = (name: string, value: bigint, offset: number): Interpretation => (name === "EFR" ? interpretEfr(value, offset) : name === "EFR2" ? interpretEfr2(value) : {});

/**
 * A register's value: fields, meaning, and what is odd about it.
 * @param name as in `REGISTERS`
 * @throws RangeError when there is no such register
 */
export const decodeRegister = (name: string, value: bigint, offset = 0): Told => {
  const register = REGISTERS.get(name);
  if (!register) throw new RangeError(`There is no register ${name}; there are ${[...REGISTERS.keys()].join(", ")}.`);
  const ones = value === (1n << BigInt(register.width)) - 1n;
  const { structure, findings } = decodeBits(register.layout, value, offset, { ...interpret(name, value, offset), of: "register" });
  return {
    structure: structure.meaning.length > 0 ? structure : { ...structure, meaning: setBits(structure.fields) },
    findings: ones ? [{ id: "register-all-ones", offset, text: `${register.name} reads all ones: there is no IOMMU at its address, or it is powered off.` }] : findings,
  };
};
