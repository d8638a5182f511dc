/** Writes the JSON schema of the lines of an event file, from the schema that the program reads with: `pnpm run-schema`. */
import { writeFileSync } from "node:fs";
import { runLineSchema } from "../packages/hypervisor/src/scenarios/run-schema.ts";
import { toJsonSchema } from "@valibot/to-json-schema";

/** Where it is kept. */
export const SCHEMA_FILE = new URL("../packages/hypervisor/run.schema.json", import.meta.url);

/** The schema of one line as text. That the format comes first and the result last is not in it. */
export const runSchemaText = (): string => `${JSON.stringify({ title: "A line of an event file of the IOMMU Lab", ...toJsonSchema(runLineSchema, { typeMode: "input", errorMode: "ignore" }) }, undefined, 2)}\n`;

if (import.meta.main) writeFileSync(SCHEMA_FILE, runSchemaText());
