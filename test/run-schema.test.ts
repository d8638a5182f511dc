import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { runSchemaText, SCHEMA_FILE } from "../scripts/run-schema.ts";

test("the published schema of event files is the one that the program reads with; pnpm run-schema writes it", () => {
  expect(readFileSync(SCHEMA_FILE, "utf8")).toBe(runSchemaText());
});
