/** Builds the way out: one HTML file that holds everything, to be saved and opened from a disk. */

import { createHash } from 'node:crypto';
import { defineConfig, type Plugin } from 'vite';

export default defineConfig({
  plugins: [singleFile()],
  build: {
    outDir: 'dist',
    emptyOutDir: false,
    target: 'es2022',
    modulePreload: false,
    rolldownOptions: { input: 'exit.html' },
  },
});

/** Puts script and style into the page, and lets it run nothing else: what may run is named by its hash. */
function singleFile(): Plugin {
  return {
    name: 'single-file',
    enforce: 'post',
    generateBundle(_, bundle) {
      const files = Object.values(bundle);
      const page = files.find(({ fileName }) => fileName.endsWith('.html'));
      const rest = files.filter((file) => file !== page);
      if (page?.type !== 'asset') throw new Error('the page was not built');
      let html = String(page.source).replaceAll(
        /\s*<(?:script|link)\b[^>]*\b(?:src|href)="[^"]*"[^>]*>(?:<\/script>)?/g,
        '',
      );
      const hashes = { script: '', style: '' };
      for (const file of rest) {
        const isScript = file.type === 'chunk';
        // A closing tag inside of a string would end the script.
        const text = isScript ? file.code.trim().replaceAll('</', '<\\/') : String(file.source).trim();
        const tag = isScript ? 'script' : 'style';
        const opening = isScript ? '<script type="module">' : '<style>';
        hashes[tag] += ` 'sha256-${createHash('sha256').update(text).digest('base64')}'`;
        html = html.replace(
          isScript ? '  </body>' : '  </head>',
          () => `    ${opening}${text}</${tag}>\n${isScript ? '  </body>' : '  </head>'}`,
        );
        delete bundle[file.fileName];
      }
      page.source = html.replace('<meta charset="utf-8" />', (first) => `${first}\n    ${policy(hashes)}`);
    },
  };
}

/** It may ask any node, over https or on this machine, and load nothing. */
function policy({ script, style }: { script: string; style: string }): string {
  const rules = [
    `default-src 'none'`,
    `script-src${script}`,
    `style-src${style}`,
    'img-src data:',
    'connect-src https: http://localhost:* http://127.0.0.1:*',
    `base-uri 'none'`,
    `form-action 'none'`,
  ];
  return `<meta http-equiv="Content-Security-Policy" content="${rules.join('; ')}" />`;
}
