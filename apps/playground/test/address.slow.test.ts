import { test } from "vitest";
import { fuzzAddresses } from "./address-fuzz.ts";

const count = process.env.IOMMU_LAB_FULL ? 1_000_000 : 10_000;
test(`${count} fragments that somebody made up are read without a throw`, () => { fuzzAddresses(count); });
