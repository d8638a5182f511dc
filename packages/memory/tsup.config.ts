import { library } from "../../tsup.preset.ts";

export default library("src/layout/index.ts", "src/registers/index.ts");
