/** Writes docs/doctor from the doctor's rules and the hosts that break them: node --conditions=@iommu-lab/source scripts/doctor-pages.ts */
import { mkdirSync, writeFileSync } from "node:fs";
import { doctorPages } from "../packages/host/test/doctor/pages.ts";

const folder = new URL("../docs/doctor/", import.meta.url);
mkdirSync(folder, { recursive: true });
for (const [name, text] of doctorPages()) writeFileSync(new URL(name, folder), text);
