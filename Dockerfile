# The worker. The same image migrates the database: `node apps/worker/src/main.ts migrate`.
# Debian, not Alpine: packages with native parts come for glibc.
FROM node:24-bookworm-slim
WORKDIR /app
COPY package.json pnpm-lock.yaml pnpm-workspace.yaml ./
COPY migrations migrations
COPY packages packages
COPY apps apps
# Without the testkit, which brings servers, and without optional packages: another Node, and native parts of build tools.
# Nothing that remains needs an install script.
RUN npx -y "$(node -p "require('./package.json').packageManager")" install --frozen-lockfile --no-optional --ignore-scripts \
      --filter '!@stepwell/testkit' \
 && rm -rf "$HOME/.npm" "$HOME/.cache" "$HOME/.local"
# The user `node` of the image, by number: Kubernetes' runAsNonRoot wants to see one.
USER 1000:1000
EXPOSE 9464
CMD ["node", "apps/worker/src/main.ts"]
