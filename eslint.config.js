// host/ and test/ are TypeScript and are checked with their types; scripts/ and the policy's helpers are plain modules that run
// before anything is installed. assembly/ and examples/ are AssemblyScript: its checker is the compiler.
import js from "@eslint/js";
import tseslint from "typescript-eslint";

const NODE = {
  AbortController: "readonly",
  AbortSignal: "readonly",
  Buffer: "readonly",
  TextDecoder: "readonly",
  TextEncoder: "readonly",
  URL: "readonly",
  WebAssembly: "readonly",
  clearInterval: "readonly",
  clearTimeout: "readonly",
  console: "readonly",
  performance: "readonly",
  process: "readonly",
  setInterval: "readonly",
  setTimeout: "readonly",
  structuredClone: "readonly",
};

export default tseslint.config(
  { ignores: ["build/", "node_modules/", "assembly/**/*.ts", "examples/", "native/"] },
  js.configs.recommended,
  { files: ["**/*.{js,mjs}"], languageOptions: { globals: NODE } },
  {
    files: ["host/**/*.ts", "test/**/*.ts"],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/explicit-module-boundary-types": "error",
      "@typescript-eslint/no-floating-promises": [
        "error",
        {
          // The runner itself waits for these.
          allowForKnownSafeCalls: [
            { from: "package", package: "node:test", name: ["test", "it", "describe", "suite", "before", "after"] },
          ],
        },
      ],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/switch-exhaustiveness-check": "error",
    },
  },
  {
    rules: {
      eqeqeq: "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-restricted-imports": [
        "error",
        {
          paths: ["child_process", "node:child_process"].map((name) => ({
            name,
            importNames: ["exec", "execSync"],
            message: "These start a shell: use spawn or execFile with an argument list.",
          })),
        },
      ],
    },
  },
);
