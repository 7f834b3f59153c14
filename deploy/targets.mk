# Containers: compose on this machine, Kubernetes on minikube, and the proof that both work.

PROFILE   ?=
WORKERS   ?= 2
NAMESPACE := data-migration
MINIKUBE  := deploy/kubernetes/overlays/minikube
KUBECTL   ?= kubectl

# The demo has a project of its own: its Redis must not tell the real one what was copied.
REAL_PROJECT := --project-name bucketbrigade
DEMO_PROJECT := --project-name bucketbrigade-demo --env-file deploy/demo/demo.env --profile demo
PROJECT      := $(if $(filter demo,$(PROFILE)),$(DEMO_PROJECT),$(REAL_PROJECT))
# podman-compose, where it comes from .venv.
COMPOSE_RUN  := PATH="$(CURDIR)/$(BIN):$$PATH" deploy/compose

.PHONY: compose-up compose-down compose-logs test-compose image prod-settings prod-pubsub prod-redis prod-migration-mk prod-publisher-mk

compose-up: $(if $(filter demo,$(PROFILE)),,.env) ## publisher, WORKERS=2, Redis, Pub/Sub emulator in containers; PROFILE=demo needs no cloud account
	$(COMPOSE_RUN) $(PROJECT) build publisher
	$(if $(filter demo,$(PROFILE)),$(COMPOSE_RUN) $(PROJECT) build filler)
	$(COMPOSE_RUN) $(PROJECT) up --detach --scale worker=$(WORKERS)

# Two passes: podman-compose takes scaled workers for orphans, and they hold on to what they depend on in the first one.
compose-down: ## stop the containers; Redis keeps its data (the demo's does not)
	@test ! -f .env || for pass in 1 2; do $(COMPOSE_RUN) $(REAL_PROJECT) down --remove-orphans; done
	for pass in 1 2; do $(COMPOSE_RUN) $(DEMO_PROJECT) down --remove-orphans --volumes; done

compose-logs: ## follow what the containers say (PROFILE=demo for the demo's)
	$(COMPOSE_RUN) $(PROJECT) logs --follow

.env:
	@echo "There is no .env: cp .env.example .env and fill it in, or try make compose-up PROFILE=demo"; exit 2

test-compose: install ## build the image, run demo profile and Kubernetes manifests, prove every object, take all down
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.compose

image: ## the image for minikube (first: eval $(minikube docker-env))
	docker build --file deploy/Dockerfile --tag bucketbrigade .

# The parts of the minikube overlay, by label. Settings of .env that are not the overlay's own business go into a Secret.
OWN_NAMES := ^(REDIS_|GCP_PUBSUB_HOST|PUBSUB_EMULATOR_HOST|GCP_CREDENTIALS|GDRIVE_TOKEN|BRIGADE_CONFIG|BRIGADE_HTTP_|COMPOSE_|ENV_FILE|PUBLISHER_PORT|DEMO_)
apply = $(KUBECTL) apply --kustomize $(MINIKUBE) --selector 'app.kubernetes.io/component in (settings, $(1))'

prod-settings:
	$(call apply,settings)
	@test ! -f .env || { grep -E '^[A-Z0-9_]+=.' .env | grep -vE '$(OWN_NAMES)' | sed "s/='\(.*\)'$$/=\1/" \
	  | $(KUBECTL) create secret generic brigade-cloud --namespace $(NAMESPACE) --from-env-file=/dev/stdin --dry-run=client --output yaml \
	  | $(KUBECTL) apply --filename -; }

prod-pubsub: ## minikube: the Pub/Sub emulator
	$(call apply,pubsub)

prod-redis: ## minikube: Redis
	$(call apply,redis)

prod-migration-mk: prod-settings ## minikube: the workers (more of them: kubectl scale -n data-migration deployment/worker --replicas=N)
	$(call apply,worker)

prod-publisher-mk: prod-settings ## minikube: the publisher and its HTTP API
	$(call apply,publisher)
