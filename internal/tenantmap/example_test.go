package tenantmap_test

import (
	"errors"
	"fmt"
	"net/http"

	"sfm-sidecar/internal/tenantmap"
)

// A request that names a tenant, and one that forgets the journal.
func ExampleMap_Lookup() {
	tenants, err := tenantmap.New(tenantmap.Options{CheckDigit: "strict"})
	if err != nil {
		panic(err)
	}
	h := http.Header{}
	h.Set(tenantmap.ParentHeader, "100100126")
	_, err = tenants.Lookup(h)
	if refusal, ok := errors.AsType[*tenantmap.Error](err); ok {
		fmt.Println(refusal.Code()+":", refusal.Detail()+".", refusal.Hint())
	}

	h.Set(tenantmap.JournalHeader, "{7FBFBCBD-6F08-4E95-9F7A-9D69C40F6A35}")
	tenant, err := tenants.Lookup(h)
	if err != nil {
		panic(err)
	}
	fmt.Println(tenant.Parent, tenant.Journal)
	fmt.Println(tenant.Folded().Journal)
	// Output:
	// tenant-missing: Sfm-Journal-Id is missing. Send the UUID of the customer's journal.
	// 100100126 7FBFBCBD-6F08-4E95-9F7A-9D69C40F6A35
	// 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35
}
