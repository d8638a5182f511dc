import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["**/dist/**", "**/dist-test/**", "**/coverage/**", "**/node_modules/**", "**/.turbo/**"] },
  js.configs.recommended,
  {
    files: ["**/*.{ts,tsx}"],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/consistent-type-imports": "error",
      // Typed-array reads are number | undefined under noUncheckedIndexedAccess; where the bound stands on the line above, `!` or `as number` says so.
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/non-nullable-type-assertion-style": "off",
      // Bit work reads better as `a & b` in conditions of one line, and counters as ++.
      "@typescript-eslint/no-unnecessary-condition": ["error", { allowConstantLoopConditions: true }],
      "no-restricted-exports": ["error", { restrictDefaultExports: { direct: true, named: true, defaultFrom: true, namedFrom: true, namespaceFrom: true } }],
    },
  },
  {
    // docs/decisions/001-sixty-four-bits.md: BigInt is for printing, parsing and JSON; never on the translation path.
    files: ["packages/*/src/**/{walk,iotlb,second-stage,first-stage}*.ts", "packages/*/src/hardware/**/*.ts", "packages/memory/src/**/*.ts"],
    rules: {
      "no-restricted-syntax": ["error", { selector: "Literal[bigint]", message: "No BigInt here: docs/decisions/001-sixty-four-bits.md." }, { selector: "Identifier[name='BigInt']", message: "No BigInt here: docs/decisions/001-sixty-four-bits.md." }],
    },
  },
  { files: ["*.config.ts", "*.config.js", "**/*.config.ts", "**/*.d.ts", "scripts/closing-line.ts"], rules: { "no-restricted-exports": "off" } },
  { files: ["**/*.mjs"], languageOptions: { globals: { process: "readonly", console: "readonly", URL: "readonly" } } },
);
