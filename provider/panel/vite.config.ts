import { defineConfig } from 'vite';

// Addresses are relative, so that the page works wherever a provider serves it; names carry no hash, so that a build
// changes only the files whose content did. The server revalidates them by their ETag.
export default defineConfig({
  base: './',
  build: {
    outDir: 'dist',
    target: 'es2022',
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: {
        entryFileNames: '[name].js',
        chunkFileNames: '[name].js',
        assetFileNames: '[name][extname]',
      },
    },
  },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
});
