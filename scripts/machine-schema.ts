/** Writes the JSON schema of machine.json, from the schema that the program reads with: `pnpm machine-schema`. */
import { writeFileSync } from "node:fs";
import { functionSchema, machineSchema } from "../packages/pci-bus/src/machine/index.ts";
import { toJsonSchema } from "@valibot/to-json-schema";

/** Where it is kept. */
export const SCHEMA_FILE = new URL("../packages/pci-bus/machine.schema.json", import.meta.url);

/** The schema as text. What only the program checks, such as names given twice, is not in it. */
export const machineSchemaText = (): string => `${JSON.stringify({ title: "A machine of the IOMMU Lab", ...toJsonSchema(machineSchema, { typeMode: "input", errorMode: "ignore", definitions: { function: functionSchema } }) }, undefined, 2)}\n`;

if (import.meta.main) writeFileSync(SCHEMA_FILE, machineSchemaText());
