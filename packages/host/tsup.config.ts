import { library } from "../../tsup.preset.ts";

export default library("src/bundled/index.ts", "src/decode/index.ts", "src/doctor/index.ts", "src/plan/index.ts");
