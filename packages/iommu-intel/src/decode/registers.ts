import type { Register } from "@iommu-lab/memory/registers";
import { decodeBits, hex, type FieldValue, type Interpretation, type Told } from "@iommu-lab/pci-bus/decode";
import { CAP_REG, ECAP_REG, FIXED_REGISTERS, VER_REG } from "../layouts/index.ts";
import * as optional from "../layouts/optional-registers.ts";
import { interpretCap, interpretEcap } from "./capabilities.ts";

const isRegister = (value: unknown): value is Register => typeof value === "object" && value !== null && "layout" in value && "reset" in value;

/** Every register there is a layout for, by the short name that Linux's debugfs uses: CAP, GSTS, IQA. */
export const REGISTERS: ReadonlyMap<string, Register> = new Map(
  ([VER_REG, CAP_REG, ECAP_REG, ...FIXED_REGISTERS, ...Object.values(optional).flat().filter(isRegister)] as readonly Register[]).map((register) => [register.name.replace(/_REG$/, ""), register]),
);

const sentence = ({ text, meaning, address, value, msb, lsb }: FieldValue): string => `${text}${msb === lsb ? "" : `: ${meaning ?? (address === undefined ? String(value) : hex(address))}`}.`;

/** What the bits that are set say: for status and command registers. */
const setBits = (fields: readonly FieldValue[]): string[] => fields.filter(({ value, address }) => (address === undefined ? Number(value) !== 0 : address !== 0n)).map(sentence);

const interpret = (short: string, value: bigint, offset: number): Interpretation => (short === "CAP" ? interpretCap(value, offset) : short === "ECAP" ? interpretEcap(value, offset) : {});

/**
 * A register's value: fields, meaning, and what is odd about it.
 * @param short name without _REG, as in `REGISTERS`
 * @throws RangeError when there is no such register
 */
export const decodeRegister = (short: string, value: bigint, offset = 0): Told => {
  const register = REGISTERS.get(short);
  if (!register) throw new RangeError(`There is no register ${short}; there are ${[...REGISTERS.keys()].join(", ")}.`);
  const ones = value === (1n << BigInt(register.width)) - 1n;
  const { structure, findings } = decodeBits(register.layout, value, offset, { ...interpret(short, value, offset), of: "register" });
  return {
    structure: structure.meaning.length > 0 ? structure : { ...structure, meaning: setBits(structure.fields) },
    findings: ones ? [{ id: "register-all-ones", offset, text: `${register.name} reads all ones: there is no unit at its address, or it is powered off. Linux then reports a broken BIOS.` }] : findings,
  };
};
