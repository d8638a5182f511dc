import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { machineSchemaText, SCHEMA_FILE } from "../scripts/machine-schema.ts";

test("the published schema of machine.json is the one that the program reads with; pnpm machine-schema writes it", () => {
  expect(readFileSync(SCHEMA_FILE, "utf8")).toBe(machineSchemaText());
});

test("it knows functions below functions, and numbers as hexadecimal text", () => {
  const schema = JSON.parse(machineSchemaText()) as { readonly $defs?: Readonly<Record<string, { readonly properties?: Readonly<Record<string, unknown>> }>>; readonly required?: readonly string[] };
  expect(Object.keys(schema.$defs?.function?.properties ?? {})).toContain("below");
  expect(schema.required).toEqual(["format", "version", "name", "kernel", "firmware", "processors", "memory", "iommus", "hostBridges"]);
});
